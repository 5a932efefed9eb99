import assert from "node:assert/strict";
import { test } from "node:test";
import { withAccess } from "../../src/shard/access.js";
import type { Caller } from "../../src/shard/caller.js";
import type { ShardClient } from "../../src/shard/client.js";
import { UnsentError } from "../../src/shard/errors.js";
import { Code, StatusError } from "../../src/status/error.js";
import { KV } from "../../src/wire/paths.js";

test("a write whose login fails has certainly not been sent", async () => {
  const away = new StatusError(Code.UNAVAILABLE, 'shard "a": no endpoint reachable');
  const caller: Caller = { access: () => ({ metadata: undefined, renew: () => Promise.reject(away) }) };
  const shard = { index: 0, name: "a", unary: () => assert.fail("was sent") } as unknown as ShardClient;
  const write = withAccess(shard, caller).call(KV.Put, new Uint8Array(0), { idempotent: false });
  await assert.rejects(write, (error) => {
    assert.ok(error instanceof UnsentError);
    assert.deepEqual([error.code, error.message], [away.code, away.message]);
    return true;
  });
});
