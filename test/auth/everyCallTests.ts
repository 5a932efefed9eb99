import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { isDenied } from "../../src/shard/access.js";
import { Code } from "../../src/status/error.js";
import { renderMessage } from "../../src/transport/gateway/render.js";
import { routes } from "../../src/transport/gateway/routes.js";
import { loadMethods } from "../../src/transport/gateway/schema.js";
import {
  AuthRoleAddRequest,
  AuthRoleGrantPermissionRequest,
  AuthUserAddRequest,
  AuthUserDeleteRequest,
  AuthUserGrantRoleRequest,
  CampaignRequest,
  LeaseGrantRequest,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  PutRequest,
  RangeRequest,
  RangeResponse,
  WatchResponse,
} from "../../src/wire/messages.js";
import * as paths from "../../src/wire/paths.js";
import { ask } from "../gateway/support.js";
import type { EtcdProcess } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import type { TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { AuthClient, type Outcome } from "./client.js";
import { bytes, EVERY_CALL, type EveryCall, FOREIGN, leasesOf, OWN } from "./everyCall.js";
import { ROOT, startGuardedEtcds, startGuardedStore } from "./support.js";

const { Auth, Election, KV, Lease, Maintenance, Watch } = paths;
const ALL = Uint8Array.of(0);
const STREAMS: ReadonlySet<string> = new Set([
  Lease.LeaseKeepAlive,
  Watch.Watch,
  Maintenance.Snapshot,
  Election.Observe,
]);

/** TTL of the leases that are made here, in seconds. */
const TTL = 3_600;
const RENEW: EveryCall = {
  path: Lease.LeaseKeepAlive,
  what: "renew",
  request: () => LeaseKeepAliveRequest.encode({ id: OWN }),
};

const METHODS = loadMethods();
/** gRPC path → path of the gateway. */
const HTTP_PATHS = new Map([...routes].reverse().map(([http, grpc]) => [grpc, http]));

const USERS = ["gone", "nothing", "reader", "pusher", "elsewhere", "writer"];
/** Callers with more rights come later, so that the others do not see their changes. */
const CALLERS = ["nobody", "forger", ...USERS, "root"];

/** A plain etcd or a proxy, with its callers. */
class Side {
  readonly client: AuthClient;
  readonly tokens = new Map<string, string>();

  constructor(
    private readonly endpoint: string,
    /** The member that a leader is moved to. */
    private readonly member: bigint,
  ) {
    this.client = new AuthClient(endpoint);
  }

  asRoot(path: string, request: Uint8Array): Promise<Uint8Array> {
    return this.client.call(path, request, this.tokens.get("root"));
  }

  async prepare(): Promise<void> {
    const { client, tokens } = this;
    const [user, password] = ROOT.split(":") as [string, string];
    tokens.set("root", await client.login(user, password));
    // After a dot and a number, etcd would wait for that many changes first.
    tokens.set("forger", "braid1-forged");
    for (const name of USERS) {
      await this.asRoot(Auth.UserAdd, AuthUserAddRequest.encode({ name, password: `${name}-secret` }));
      await this.asRoot(Auth.RoleAdd, AuthRoleAddRequest.encode({ name }));
      await this.asRoot(Auth.UserGrantRole, AuthUserGrantRoleRequest.encode({ user: name, role: name }));
    }
    const grants: [role: string, permType: number, key: string, rangeEnd: string][] = [
      ["gone", 2, "/a", "/b"],
      ["reader", 0, "/a", "/b"],
      ["pusher", 1, "/a", "/b"],
      ["elsewhere", 2, "/q", "/r"],
      ["writer", 2, "/a", "/b"],
    ];
    for (const [name, permType, key, rangeEnd] of grants) {
      const perm = { permType, key: bytes(key), rangeEnd: bytes(rangeEnd) };
      await this.asRoot(Auth.RoleGrantPermission, AuthRoleGrantPermissionRequest.encode({ name, perm }));
    }
    for (const name of USERS) tokens.set(name, await client.login(name, `${name}-secret`));
    for (const id of [OWN, FOREIGN, 13n]) await this.grant(id);
    for (let i = 0; i < 6; i++) {
      await this.put(`/a${i}/x`, OWN);
      await this.put(`/a${i}/y`, FOREIGN);
    }
    for (const key of ["/z/x", "/z/y", "/z/z"]) await this.put(key, FOREIGN);
    await this.asRoot(Election.Campaign, CampaignRequest.encode({ name: bytes("/a5/led"), lease: 13n }));
    for (const caller of CALLERS.keys()) {
      const { bare, mine, theirs, none, fresh } = leasesOf(caller);
      for (const id of [bare, mine, theirs, none, fresh + 50n, fresh + 60n, fresh + 70n])
        await this.grant(id);
      for (let i = 0; i < 3; i++) {
        await this.put(`/a${i}/m${caller}`, mine);
        await this.put(`/a${i}/t${caller}`, theirs);
        await this.put(`/z/${i}/t${caller}`, theirs);
      }
    }
    await this.asRoot(Auth.UserDelete, AuthUserDeleteRequest.encode({ name: "gone" }));
  }

  outcome({ path, request }: EveryCall, caller: number): Promise<Outcome> {
    const token = this.tokens.get(CALLERS[caller]!);
    const bytes = request(caller, this.member);
    return STREAMS.has(path) ? this.first(path, bytes, token) : this.client.outcome(path, bytes, token);
  }

  /** How the JSON gateway refuses the call, or undefined where it does not have the method. */
  async refusal({ path, request }: EveryCall, caller: number): Promise<Outcome | undefined> {
    const token = this.tokens.get(CALLERS[caller]!);
    const { text } = await ask(this.endpoint, {
      path: HTTP_PATHS.get(path)!,
      body: renderMessage(METHODS.get(path)!.request, request(caller, this.member)),
      headers: token === undefined ? {} : { authorization: token },
      lines: 1,
    });
    if (!text.startsWith("{")) return undefined;
    const answer = JSON.parse(text);
    // Streams and versions of etcd wrap it differently.
    const { code, grpc_code, message } = typeof answer.error === "object" ? answer.error : answer;
    return { code: code ?? grpc_code, message };
  }

  /** Remaining seconds of a lease. */
  async timeToLive(id: bigint): Promise<number> {
    const answer = await this.asRoot(Lease.LeaseTimeToLive, LeaseTimeToLiveRequest.encode({ id }));
    return LeaseTimeToLiveResponse.decode(answer).ttl;
  }

  /** The relevant part of a stream's first message, as the outcome's message, or how the stream ended. */
  private first(path: string, request: Uint8Array, token: string | undefined): Promise<Outcome> {
    return new Promise((resolve) => {
      const stream = this.client.connection.stream(
        path,
        {
          message: (message) => {
            stream.cancel();
            resolve({ code: Code.OK, message: told(path, message) });
          },
          closed: (error) => resolve(this.client.outcomeOf(error)),
        },
        token === undefined ? {} : { metadata: { token } },
      );
      stream.send(request, path !== Watch.Watch);
    });
  }

  private grant(id: bigint): Promise<Uint8Array> {
    return this.asRoot(Lease.LeaseGrant, LeaseGrantRequest.encode({ id, ttl: TTL }));
  }

  private put(key: string, lease: bigint): Promise<Uint8Array> {
    return this.asRoot(KV.Put, PutRequest.encode({ key: bytes(key), lease }));
  }
}

/** The response that is expected of the store. */
async function wantedOf(etcd: Side, call: EveryCall, caller: number): Promise<Outcome> {
  const wanted = await etcd.outcome(call, caller);
  if (call.silent === undefined || wanted.code === Code.OK) return wanted;
  return etcd.outcome(EVERY_CALL.find(({ what }) => what === call.silent)!, caller);
}

/** Whether an etcd has refused a caller, in an error or in the first response of a watch. */
/** Callers without any permission. */
const WITHOUT_PERMISSIONS = new Set(["nobody", "forger", "nothing"]);

function isRefusal(outcome: Outcome): boolean {
  return outcome.code === Code.OK ? outcome.message.includes("rpc error") : isDenied(outcome);
}

function told(path: string, message: Uint8Array): string {
  if (path === Lease.LeaseKeepAlive) return `alive: ${LeaseKeepAliveResponse.decode(message).ttl > 0}`;
  if (path !== Watch.Watch) return "";
  const { created, canceled, cancelReason, watchId } = WatchResponse.decode(message);
  return JSON.stringify({ created, canceled, cancelReason, watchId });
}

/** All traces that a call can leave: the leases, and the revision of each cluster, which rises with writes and log entries. */
class Traces {
  private readonly clients: { name: string; client: AuthClient; token: Promise<string> }[];

  constructor(clusters: Readonly<Record<string, EtcdProcess>>) {
    const [user, password] = ROOT.split(":") as [string, string];
    this.clients = Object.entries(clusters).map(([name, { endpoint }]) => {
      const client = new AuthClient(endpoint);
      return { name, client, token: client.login(user, password) };
    });
  }

  async read(): Promise<Record<string, { revision: number; leases: readonly bigint[] }>> {
    const rows = await Promise.all(
      this.clients.map(async ({ name, client, token }) => {
        const look = RangeRequest.encode({ key: ALL, rangeEnd: ALL, countOnly: true });
        const [range, leases] = await Promise.all([
          client.call(KV.Range, look, await token),
          client.call(Lease.LeaseLeases, new Uint8Array(0), await token),
        ]);
        const { revision } = RangeResponse.decode(range).header!;
        const ids = [...LeaseLeasesResponse.decode(leases).leases].sort((a, b) => Number(a - b));
        return [name, { revision, leases: ids }] as const;
      }),
    );
    return Object.fromEntries(rows);
  }

  close(): void {
    for (const { client } of this.clients) client.close();
  }
}

/** The id of a cluster's only member. */
async function memberOf({ endpoint }: EtcdProcess): Promise<bigint> {
  const { stdout } = await etcdctl(endpoint, "--user", ROOT, "member", "list", "-w", "json");
  return BigInt(/"ID":(\d+)/.exec(stdout)![1]!);
}

export type Layout = "a shard" | "a dedicated cluster";

/** Tests every call of etcd as every kind of caller, on a store whose timeline host is such a cluster. */
export function testEveryCall(layout: Layout): void {
  describe(`the timeline host is ${layout}`, () => {
    let store: TestStore;
    let plain: EtcdProcess;
    let host: EtcdProcess | undefined;
    let etcd: Side;
    let braid: Side;
    let traces: Traces;

    before(async () => {
      [plain] = (await startGuardedEtcds(1)) as [EtcdProcess];
      if (layout === "a shard") store = await startGuardedStore();
      else {
        [host] = (await startGuardedEtcds(1)) as [EtcdProcess];
        store = await startGuardedStore({ config: { timeline: { endpoints: [host.endpoint] } } });
      }
      etcd = new Side(plain.endpoint, await memberOf(plain));
      braid = new Side(store.endpoint, await memberOf(host ?? store.shards[1]!));
      await Promise.all([etcd.prepare(), braid.prepare()]);
      const shards = Object.fromEntries(store.shards.map((shard, i) => [`shard${i}`, shard]));
      traces = new Traces(host === undefined ? shards : { ...shards, host });
    });
    after(async () => {
      traces?.close();
      etcd?.client.close();
      braid?.client.close();
      await Promise.all([store?.remove(), plain?.remove(), host?.remove()]);
    });

    for (const [caller, name] of CALLERS.entries()) {
      test(`${name}: every call is answered as by an etcd, and a refused call leaves no trace`, async () => {
        let before = await traces.read();
        for (const call of EVERY_CALL) {
          if (name === "root" && call.notAsRoot !== undefined) continue;
          const wanted = await wantedOf(etcd, call, caller);
          const answer = await braid.outcome(call, caller);
          const refused = isRefusal(wanted);
          const at = `${call.path}, ${call.what}`;
          const stricter = call.needsAny === true && WITHOUT_PERMISSIONS.has(name);
          if (stricter) assert.ok(isRefusal(answer), at);
          else if (refused || call.differs === undefined) assert.deepEqual(answer, wanted, at);
          // A watch is refused in its first response, and an observer without an error.
          if (refused && call.path !== Watch.Watch && call.silent === undefined) {
            const json = await Promise.all([etcd, braid].map((side) => side.refusal(call, caller)));
            if (json[0] !== undefined) assert.deepEqual(json[1], json[0], `${at}: over JSON`);
          }
          const after = await traces.read();
          if (refused) assert.deepEqual(after, before, `${at}: a trace`);
          before = after;
        }
      });
    }

    test("refused keep-alives renew nothing, and others do", async () => {
      const outcomes: Record<string, Outcome>[] = [];
      const renewals: Record<string, boolean>[] = [];
      for (const side of [etcd, braid]) {
        const row: Record<string, Outcome> = {};
        const renewed: Record<string, boolean> = {};
        for (const [caller, name] of CALLERS.entries()) {
          await until("it is not new any more", async () => (await side.timeToLive(OWN)) < TTL - 1);
          row[name] = await side.outcome(RENEW, caller);
          renewed[name] = (await side.timeToLive(OWN)) >= TTL - 1;
        }
        outcomes.push(row);
        renewals.push(renewed);
      }
      assert.deepEqual(outcomes[1], outcomes[0]);
      assert.deepEqual(renewals[1], renewals[0]);
      for (const name of CALLERS) assert.equal(renewals[1]![name], !isRefusal(outcomes[1]![name]!), name);
      assert.ok(renewals[1]!.writer);
    });
  });
}
