import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { RenewalStream } from "../../src/lease/renewalStream.js";
import type { Caller } from "../../src/shard/caller.js";
import type { Shard, ShardStream, StreamEvents } from "../../src/shard/shard.js";
import { Code, type StatusError } from "../../src/status/error.js";
import { etcd } from "../../src/status/etcd.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import {
  AuthRoleAddRequest,
  AuthRoleGrantPermissionRequest,
  AuthRoleRevokePermissionRequest,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserGrantRoleRequest,
  LeaseGrantRequest,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  PutRequest,
} from "../../src/wire/messages.js";
import { Auth, KV, Lease } from "../../src/wire/paths.js";
import type { EtcdProcess } from "../support/etcd.js";
import type { TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { AuthClient } from "./client.js";
import { ROOT, startGuardedEtcds, startGuardedStore } from "./support.js";

/*
 * The shards check keep-alives by the token of the stream, which all clients of one user share. The expected result is that of
 * a plain etcd. etcd 3.4 does not check them at all.
 */

const bytes = (text: string) => Buffer.from(text);
const MINE = [1n, 2n, 3n, 4n, 5n, 6n];
const THEIRS = 7n;
const USERS = ["writer", "changing", "revoked"];

/** One client's keep-alive stream, and how it ended. */
class KeepAlives {
  readonly ttls = new Map<bigint, number>();
  answers = 0;
  error: StatusError | undefined;
  private readonly stream: ShardStream;

  constructor(client: AuthClient, token: string) {
    const events = {
      message: (message: Uint8Array) => {
        const { id, ttl } = LeaseKeepAliveResponse.decode(message);
        this.ttls.set(id, ttl);
        this.answers++;
      },
      closed: (error: StatusError) => {
        this.error = error;
      },
    };
    this.stream = client.connection.stream(Lease.LeaseKeepAlive, events, { metadata: { token } });
  }

  /** Resolves to the result: alive, dead, or the error that ended the stream. */
  async renew(id: bigint): Promise<string> {
    const before = this.answers;
    this.stream.send(LeaseKeepAliveRequest.encode({ id }));
    await until("it is answered", () => this.answers > before || this.error !== undefined);
    if (this.error !== undefined) return `${this.error.code} ${this.error.message}`;
    return this.ttls.get(id)! > 0 ? "alive" : "dead";
  }

  close(): void {
    this.stream.cancel();
  }
}

/** A plain etcd or the store, with the same users, leases and keys. */
class Side {
  readonly client: AuthClient;
  private root = "";

  constructor(endpoint: string) {
    this.client = new AuthClient(endpoint);
  }

  asRoot(path: string, request: Uint8Array): Promise<Uint8Array> {
    return this.client.call(path, request, this.root);
  }

  async prepare(): Promise<void> {
    const [user, password] = ROOT.split(":") as [string, string];
    this.root = await this.client.login(user, password);
    for (const name of USERS) {
      await this.asRoot(Auth.UserAdd, AuthUserAddRequest.encode({ name, password: "secret" }));
      await this.asRoot(Auth.RoleAdd, AuthRoleAddRequest.encode({ name }));
      await this.asRoot(Auth.UserGrantRole, AuthUserGrantRoleRequest.encode({ user: name, role: name }));
      const perm = { permType: 2, key: bytes("/a"), rangeEnd: bytes("/b") };
      await this.asRoot(Auth.RoleGrantPermission, AuthRoleGrantPermissionRequest.encode({ name, perm }));
    }
    for (const id of [...MINE, THEIRS]) {
      await this.asRoot(Lease.LeaseGrant, LeaseGrantRequest.encode({ id, ttl: 600 }));
      await this.asRoot(KV.Put, PutRequest.encode({ key: bytes(`/a${id}/x`), lease: id }));
    }
    await this.asRoot(KV.Put, PutRequest.encode({ key: bytes("/z/x"), lease: THEIRS }));
  }

  async open(user: string): Promise<KeepAlives> {
    return new KeepAlives(this.client, await this.client.login(user, "secret"));
  }
}

let store: TestStore;
let plain: EtcdProcess;
let sides: readonly Side[];

before(async () => {
  [plain] = (await startGuardedEtcds(1)) as [EtcdProcess];
  store = await startGuardedStore();
  sides = [plain.endpoint, store.endpoint].map((endpoint) => new Side(endpoint));
  await Promise.all(sides.map((side) => side.prepare()));
});
after(async () => {
  for (const { client } of sides ?? []) client.close();
  await Promise.all([store?.remove(), plain?.remove()]);
});

/** Runs a story against the plain etcd and the store, and compares its results. */
async function alike(run: (side: Side) => Promise<string[]>): Promise<string[]> {
  const [wanted, answers] = await Promise.all(sides.map(run));
  assert.deepEqual(answers, wanted);
  return answers!;
}

test("a refusal ends the client's stream, and no other stream of the same user", async () => {
  await alike(async (side) => {
    const [good, bad] = [await side.open("writer"), await side.open("writer")];
    const told = [await good.renew(MINE[0]!), await bad.renew(THEIRS)];
    for (const id of MINE) told.push(await good.renew(id));
    good.close();
    bad.close();
    return told;
  });
});

test("renewals sent together with refused ones are all answered", async () => {
  await alike(async (side) => {
    const streams = await Promise.all(Array.from({ length: 12 }, () => side.open("writer")));
    const told = await Promise.all(
      streams.map((stream, i) => stream.renew(i % 2 === 0 ? MINE[i / 2]! : THEIRS)),
    );
    for (const stream of streams) stream.close();
    return told;
  });
});

test("a revoked permission is gone at the next renewal", async () => {
  await alike(async (side) => {
    const stream = await side.open("revoked");
    const told = [await stream.renew(MINE[1]!)];
    const role = { role: "revoked", key: bytes("/a"), rangeEnd: bytes("/b") };
    await side.asRoot(Auth.RoleRevokePermission, AuthRoleRevokePermissionRequest.encode(role));
    told.push(await stream.renew(MINE[1]!));
    stream.close();
    return told;
  });
});

test("changing a password ends the streams of the old one", async () => {
  await alike(async (side) => {
    const stream = await side.open("changing");
    const told = [await stream.renew(MINE[2]!)];
    const change = AuthUserChangePasswordRequest.encode({ name: "changing", password: "another" });
    await side.asRoot(Auth.UserChangePassword, change);
    told.push(await stream.renew(MINE[2]!));
    stream.close();
    return told;
  });
});

test("a shard that has forgotten a token gets a new one, and the stream goes on", async () => {
  const side = sides[1]!;
  const stream = await side.open("writer");
  assert.equal(await stream.renew(MINE[3]!), "alive");
  for (const password of ["another", "secret"]) {
    const change = AuthUserChangePasswordRequest.encode({ name: "writer", password });
    await side.asRoot(Auth.UserChangePassword, change);
  }
  assert.equal(await stream.renew(MINE[3]!), "alive");
  stream.close();
});

test("the messages to a shard grow linearly with the number of refused renewals among good ones", async () => {
  const leases = 2_000;
  let messages = 0;
  /** Answers in order, as an etcd does, and refuses leases with an odd id. */
  const shard = {
    index: 0,
    name: "shard0",
    stream: (_path: string, events: StreamEvents): ShardStream => {
      let over = false;
      return {
        send: (message) => {
          messages++;
          const { id } = LeaseKeepAliveRequest.decode(message);
          setImmediate(() => {
            if (over) return;
            over = id % 2n === 1n;
            if (over) events.closed(etcd.permissionDenied());
            else events.message(LeaseKeepAliveResponse.encode({ id, ttl: 60 }));
          });
        },
        pause: () => {},
        resume: () => {},
        cancel: () => {
          over = true;
        },
      };
    },
  } as unknown as Shard;
  const caller: Caller = { access: () => assert.fail("the shard is asked under the caller's token") };
  const stream = new RenewalStream(shard, { warn: () => {} }, { missed: 0 }, systemRuntime, caller);
  const codes = await Promise.all(
    Array.from({ length: leases }, (_, i) => {
      return new Promise<number>((resolve) => {
        stream.renew(BigInt(i), (error) => resolve(error?.code ?? Code.OK));
      });
    }),
  );
  stream.stop();
  assert.deepEqual(
    codes,
    codes.map((_, i) => (i % 2 === 1 ? Code.PERMISSION_DENIED : Code.OK)),
  );
  // At the first refusal all of them are in flight. After it they are sent a few at a time.
  assert.ok(messages < 4 * leases, `${messages} messages for ${leases} renewals`);
});
