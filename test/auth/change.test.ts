import assert from "node:assert/strict";
import { test } from "node:test";
import type { Call } from "../../src/rpc/call.js";
import { change } from "../../src/services/auth/change.js";
import type { AuthContext } from "../../src/services/auth/context.js";
import { enable } from "../../src/services/auth/enable.js";
import { UnsentError } from "../../src/shard/errors.js";
import { ShardSet } from "../../src/shard/shardSet.js";
import { Code, StatusError } from "../../src/status/error.js";
import { etcd } from "../../src/status/etcd.js";
import { AuthUserAddRequest, AuthUserGetResponse, EMPTY } from "../../src/wire/messages.js";
import { Auth } from "../../src/wire/paths.js";

const REPAIR = "`braid auth repair` shows how the shards differ, and repairs them with --fix";
const ADD = AuthUserAddRequest.encode({ name: "new" });
const LOST = 'shard "shard0": connection lost; whether the request took effect is unknown';
const UNCLEAR =
  'etcd-braid: carried out nowhere, or only on shard "shard0": connection lost; ' +
  `whether the request took effect is unknown; ${REPAIR}`;

/** Shards with the users that they need. One of them, by default the first, fails calls of `path` with `error`. */
function shards(
  path: string,
  error: StatusError,
  count = 2,
  failing = 0,
): { context: AuthContext; sent: string[] } {
  const sent: string[] = [];
  const all = Array.from({ length: count }, (_, index) => ({
    index,
    name: `shard${index}`,
    async call(called: string) {
      if (called === path) sent.push(`shard${index}`);
      if (called === path && index === failing) throw error;
      return AuthUserGetResponse.encode({ roles: ["root"] });
    },
  }));
  const context = {
    shards: ShardSet.of(all),
    lock: { run: (_: Call, act: (deadline: number) => Promise<unknown>) => act(Date.now() + 1_000) },
    access: { own: { userOf: () => "root" } },
    identity: { header: () => EMPTY },
    timeline: { head: 1 },
  };
  return { context: context as unknown as AuthContext, sent };
}

for (const [path, run] of [
  [Auth.UserAdd, (context: AuthContext) => change(context, {} as Call, Auth.UserAdd, ADD)],
  [Auth.AuthEnable, (context: AuthContext) => enable(context, {} as Call)],
] as const) {
  for (const code of [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED]) {
    test(`${path}: when the first shard's response is lost (${code}), the error says what may have happened and what to do`, async () => {
      const { context, sent } = shards(path, new StatusError(code, LOST));
      await assert.rejects(run(context), { code, message: UNCLEAR });
      assert.deepEqual(sent, ["shard0"]);
    });
  }

  test(`${path}: a refusal by the first shard is passed on`, async () => {
    const { context, sent } = shards(path, etcd.permissionDenied());
    await assert.rejects(run(context), etcd.permissionDenied());
    assert.deepEqual(sent, ["shard0"]);
  });

  test(`${path}: a change that was never sent to the first shard needs no repair`, async () => {
    const error = new UnsentError(Code.UNAVAILABLE, 'shard "shard0": no endpoint reachable');
    const { context, sent } = shards(path, error);
    await assert.rejects(run(context), error);
    assert.deepEqual(sent, ["shard0"]);
  });
}

test("a change that was not sent to one shard and was undone on all others needs no repair", async () => {
  const missed = 'shard "shard1": no endpoint reachable';
  const failed = [new UnsentError(Code.UNAVAILABLE, missed), new StatusError(Code.UNAVAILABLE, missed)];
  const [unsent, uncertain] = failed.map((error) => shards(Auth.UserAdd, error, 3, 1).context);
  const text = `etcd-braid: not carried out on all shards: ${missed}; undone on shard "shard0", shard "shard2"`;
  const add = (context: AuthContext) => change(context, {} as Call, Auth.UserAdd, ADD);
  await assert.rejects(add(unsent!), { message: text });
  await assert.rejects(add(uncertain!), { message: `${text}; ${REPAIR}` });
  // A change that cannot be undone stays.
  const { context } = shards(Auth.UserDelete, failed[0]!, 3, 1);
  const left = `etcd-braid: not carried out on all shards: ${missed}; carried out on shard "shard0", shard "shard2"`;
  const remove = change(context, {} as Call, Auth.UserDelete, ADD);
  await assert.rejects(remove, { message: `${left}; ${REPAIR}` });
});

test("a store of one shard needs no repair", async () => {
  const { context } = shards(Auth.UserAdd, new StatusError(Code.UNAVAILABLE, LOST), 1);
  await assert.rejects(change(context, {} as Call, Auth.UserAdd, ADD), { message: LOST });
});
