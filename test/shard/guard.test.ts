import assert from "node:assert/strict";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createLog } from "../../src/ops/log.js";
import { openShard, type ShardClient } from "../../src/shard/client.js";
import { UnsentError } from "../../src/shard/errors.js";
import { type GuardedShard, guardShard } from "../../src/shard/guard.js";
import type { CallOptions, Shard } from "../../src/shard/shard.js";
import { Code, StatusError } from "../../src/status/error.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { PutRequest, RangeRequest, WatchRequest } from "../../src/wire/messages.js";
import { KV, Watch } from "../../src/wire/paths.js";
import { peekHeader } from "../../src/wire/rewrite.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";

const KEY = Buffer.from("k");
const GET = RangeRequest.encode({ key: KEY });
const PUT = PutRequest.encode({ key: KEY });
const read: CallOptions = { idempotent: true };
const write: CallOptions = { idempotent: false };

interface Guarded {
  readonly etcd: EtcdProcess;
  /** Not guarded. */
  readonly shard: Shard;
  readonly client: ShardClient;
  readonly guard: GuardedShard;
  /** What the timeline has sealed. */
  sealed: number;
  clusterId: string | undefined;
  /** The etcd's revision. */
  revision(): Promise<number>;
}

async function withGuard(body: (guarded: Guarded) => Promise<void>): Promise<void> {
  const etcd = await startEtcd();
  const shard = openShard({
    index: 0,
    name: "a",
    endpoints: [etcd.endpoint],
    requestTimeoutMs: 10_000,
    connectTimeoutMs: 3_000,
    log: createLog("silent"),
  });
  const guarded: Guarded = {
    etcd,
    shard,
    client: shard,
    guard: guardShard(
      shard,
      () => guarded.sealed,
      () => guarded.clusterId,
      systemRuntime,
    ),
    sealed: 1,
    clusterId: undefined,
    revision: async () => peekHeader(await shard.call(KV.Range, GET, read)).revision,
  };
  try {
    await body(guarded);
  } finally {
    shard.close();
    await etcd.remove();
  }
}

async function refusal(call: Promise<unknown>): Promise<StatusError> {
  try {
    await call;
  } catch (error) {
    assert.ok(error instanceof StatusError);
    return error;
  }
  assert.fail("was not refused");
}

test("a shard that has what was sealed is not in the way", async () => {
  await withGuard(async ({ guard, revision }) => {
    await guard.verify();
    await guard.call(KV.Put, PUT, write);
    assert.equal(await revision(), 2);
    await guard.call(KV.Range, GET, read);
  });
});

test("a shard below what was sealed gets no write, not even the first", async () => {
  await withGuard(async (guarded) => {
    const { guard, revision } = guarded;
    guarded.sealed = 9;
    const errors = await Promise.all([
      refusal(guard.call(KV.Put, PUT, write)),
      refusal(guard.call(KV.Range, GET, read)),
      refusal(guard.verify()),
    ]);
    for (const error of errors) {
      assert.equal(error.code, Code.DATA_LOSS);
      assert.match(
        error.message,
        /^shard "a" answers revision 1 below 9 that the timeline has sealed: it lost data/,
      );
    }
    assert.equal(await revision(), 1);
  });
});

test("a loss that shows in an answer refuses everything from then on", async () => {
  await withGuard(async (guarded) => {
    const { guard, revision } = guarded;
    await guard.verify();
    guarded.sealed = 3;
    assert.equal((await refusal(guard.call(KV.Range, GET, read))).code, Code.DATA_LOSS);
    guarded.sealed = 1;
    assert.equal((await refusal(guard.call(KV.Put, PUT, write))).code, Code.DATA_LOSS);
    assert.equal((await refusal(guard.call(KV.Range, GET, { ...read, mayLag: true }))).code, Code.DATA_LOSS);
    assert.equal(await revision(), 1);
  });
});

test("what was sealed when the request was sent counts, not what is sealed meanwhile", async () => {
  await withGuard(async (guarded) => {
    const { guard } = guarded;
    await guard.verify();
    const answered = guard.call(KV.Range, GET, read);
    guarded.sealed = 2;
    await answered;
  });
});

test("a read that may lag is neither held up nor judged", async () => {
  await withGuard(async (guarded) => {
    const { guard } = guarded;
    guarded.sealed = 5;
    await guard.call(KV.Range, GET, { ...read, mayLag: true });
  });
});

test("a sealed revision that the shard calls future is a loss; one that a client made up is not", async () => {
  await withGuard(async (guarded) => {
    const { guard } = guarded;
    await guard.verify();
    const future = RangeRequest.encode({ key: KEY, revision: 4 });
    const made = await refusal(guard.call(KV.Range, future, read));
    assert.equal(made.message, "etcdserver: mvcc: required revision is a future revision");
    guarded.sealed = 4;
    assert.equal((await refusal(guard.call(KV.Range, future, read))).code, Code.DATA_LOSS);
  });
});

test("another cluster behind the shard's name is refused", async () => {
  await withGuard(async (guarded) => {
    guarded.clusterId = "12345";
    const error = await refusal(guarded.guard.call(KV.Put, PUT, write));
    assert.equal(error.code, Code.FAILED_PRECONDITION);
    assert.match(
      error.message,
      /^shard "a" is the etcd cluster \d+, but the store was made with cluster 12345/,
    );
    assert.equal(await guarded.revision(), 1);
  });
});

/** Puts the etcd's data of now aside; the returned function ends the etcd and brings it back with them. */
async function backUp(etcd: EtcdProcess): Promise<() => Promise<void>> {
  const copy = `${etcd.dir}-copy`;
  await etcd.stop();
  cpSync(etcd.dir, copy, { recursive: true });
  await etcd.restart();
  return async () => {
    await etcd.kill();
    rmSync(etcd.dir, { recursive: true });
    cpSync(copy, etcd.dir, { recursive: true });
    rmSync(copy, { recursive: true });
    await etcd.restart();
  };
}

test("an etcd that comes back with older data gets no write after a call has failed", async () => {
  await withGuard(async (guarded) => {
    const { etcd, guard, revision } = guarded;
    const restore = await backUp(etcd);
    for (let i = 0; i < 3; i++) await guard.call(KV.Put, PUT, write);
    guarded.sealed = 4;
    await etcd.kill();
    assert.equal((await refusal(guard.call(KV.Range, GET, read))).code, Code.UNAVAILABLE);
    await restore();
    assert.equal((await refusal(guard.call(KV.Put, PUT, write))).code, Code.DATA_LOSS);
    assert.equal(await revision(), 1);
  });
});

test("streams of a shard that lost data end, and none opens again", async () => {
  await withGuard(async (guarded) => {
    const { etcd, guard, revision } = guarded;
    const restore = await backUp(etcd);
    for (let i = 0; i < 3; i++) await guard.call(KV.Put, PUT, write);
    guarded.sealed = 4;
    const watch = () =>
      new Promise<StatusError>((closed) => {
        const stream = guard.stream(Watch.Watch, { message: () => {}, closed });
        stream.send(WatchRequest.encode({ kind: "create", request: { key: KEY } }));
      });
    const first = watch();
    await restore();
    assert.equal((await first).code, Code.UNAVAILABLE, "the connection is gone");
    assert.equal((await watch()).code, Code.DATA_LOSS);
    assert.equal((await watch()).code, Code.DATA_LOSS);
    assert.equal((await refusal(guard.call(KV.Put, PUT, write))).code, Code.DATA_LOSS);
    assert.equal(await revision(), 1);
  });
});

test("after an outage the shard serves again", async () => {
  await withGuard(async ({ etcd, guard, revision }) => {
    await guard.call(KV.Put, PUT, write);
    await etcd.kill();
    assert.equal((await refusal(guard.call(KV.Range, GET, read))).code, Code.UNAVAILABLE);
    const error = await refusal(guard.call(KV.Put, PUT, write));
    assert.equal(error.code, Code.UNAVAILABLE);
    assert.ok(error instanceof UnsentError, "the shard was looked at first");
    await etcd.restart();
    await guard.call(KV.Put, PUT, write);
    assert.equal(await revision(), 3);
  });
});

test("a call cancelled before the shard was looked at is not sent", async () => {
  await withGuard(async ({ guard, revision }) => {
    guard.unary(KV.Put, PUT, write, () => assert.fail("was cancelled"))();
    await guard.verify();
    assert.equal(await revision(), 1);
  });
});

test("a shard that is exchanged while it is being recognised is looked at again before anything goes there", async () => {
  await withGuard(async ({ etcd, client }) => {
    for (let n = 0; n < 3; n++) await client.call(KV.Put, PUT, write);
    let judged = 0;
    const guard = guardShard(
      client,
      () => 4,
      () => undefined,
      systemRuntime,
      {
        request: GET,
        judge: async () => {
          if (++judged > 1) return undefined;
          const lost = new Promise<void>((resolve) => client.onDisconnect(resolve));
          await etcd.kill();
          await lost;
          rmSync(join(etcd.dir, "member"), { recursive: true });
          await etcd.restart();
          return undefined;
        },
      },
    );
    await guard.verify();
    const { code } = await refusal(guard.call(KV.Put, PUT, write));
    assert.equal(code, Code.DATA_LOSS);
    assert.equal(peekHeader(await client.call(KV.Range, GET, read)).revision, 1, "no write went there");
  });
});
