import assert from "node:assert/strict";
import { test } from "node:test";
import type { Call } from "../../src/server/transport.js";
import { change } from "../../src/services/auth/change.js";
import type { AuthContext } from "../../src/services/auth/context.js";
import { enable } from "../../src/services/auth/enable.js";
import { Code, StatusError } from "../../src/status/error.js";
import { etcd } from "../../src/status/etcd.js";
import { AuthUserAddRequest, AuthUserGetResponse, EMPTY } from "../../src/wire/messages.js";
import { Auth } from "../../src/wire/paths.js";

const ADD = AuthUserAddRequest.encode({ name: "new" });
const LOST = 'shard "shard0": connection to h:2379 lost (reset); whether the request took effect is unknown';
const UNCLEAR =
  'etcd-braid: carried out nowhere, or only on shard "shard0": connection to h:2379 lost (reset); ' +
  "whether the request took effect is unknown; `braid auth repair` shows how the shards differ, and mends it";

/** Shards that have the users they need; the first answers `path` with `error`. */
function shards(path: string, error: StatusError, count = 2): { context: AuthContext; sent: string[] } {
  const sent: string[] = [];
  const all = Array.from({ length: count }, (_, index) => ({
    index,
    name: `shard${index}`,
    async call(called: string) {
      if (called === path) sent.push(`shard${index}`);
      if (called === path && index === 0) throw error;
      return AuthUserGetResponse.encode({ roles: ["root"] });
    },
  }));
  const context = {
    shards: all,
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
    test(`${path}: when the first shard's answer is lost (${code}), the error says what may be and what to do`, async () => {
      const { context, sent } = shards(path, new StatusError(code, LOST));
      await assert.rejects(run(context), { code, message: UNCLEAR });
      assert.deepEqual(sent, ["shard0"]);
    });
  }

  test(`${path}: what the first shard refuses is refused in its words`, async () => {
    const { context, sent } = shards(path, etcd.permissionDenied());
    await assert.rejects(run(context), etcd.permissionDenied());
    assert.deepEqual(sent, ["shard0"]);
  });
}

test("a store of one shard has nothing to repair", async () => {
  const { context } = shards(Auth.UserAdd, new StatusError(Code.UNAVAILABLE, LOST), 1);
  await assert.rejects(change(context, {} as Call, Auth.UserAdd, ADD), { message: LOST });
});
