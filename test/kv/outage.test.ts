import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import { PutRequest, RangeRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { until } from "../support/until.js";
import { text } from "./model.js";
import {
  type Ask,
  between,
  invoke,
  key,
  openPlain,
  openProxy,
  outcome,
  put,
  TestCall,
  type TestProxy,
} from "./pair.js";

/* KV while a shard, or the host of the timeline (the first shard), is down. Keys: "a" first shard, "b" second, "c" third. */

const LIMITS = { limits: { requestTimeoutMs: 4_000, connectTimeoutMs: 1_000 } };
const ALL = between("a", "d");

interface Setting {
  readonly etcds: readonly EtcdProcess[];
  readonly proxy: TestProxy;
  readonly ask: Ask;
}

async function withStore(body: (setting: Setting) => Promise<void>): Promise<void> {
  const etcds = await startEtcds(3);
  const proxy = await openProxy(etcds, LIMITS);
  try {
    await body({ etcds, proxy, ask: proxy.ask });
  } finally {
    proxy.stop();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
}

async function refused(promise: Promise<unknown>): Promise<StatusError> {
  const result = await outcome(promise);
  assert.ok(result instanceof StatusError, "was not refused");
  return result;
}

test("only what needs a shard that is down fails, and the error names it", async () => {
  await withStore(async ({ etcds, ask }) => {
    for (const name of ["a1", "b1", "c1"]) await ask("put", put(name, "x"));
    await etcds[1].kill();
    for (const failing of [
      ask("put", put("b1")),
      ask("range", key("b1")),
      ask("range", ALL),
      ask("txn", { success: [{ kind: "range", request: ALL }] }),
    ]) {
      const error = await refused(failing);
      assert.equal(error.code, Code.UNAVAILABLE);
      assert.match(error.message, /^shard "shard1"/);
    }
    const { revision } = (await ask("put", put("c1", "y"))).header!;
    assert.equal((await ask("range", key("a1"))).header!.revision, revision);
    assert.equal((await ask("range", between("c", "d"))).count, 1);
    await etcds[1].restart();
    const back = await ask("range", ALL);
    assert.deepEqual([back.count, back.header!.revision], [3, revision]);
  });
});

test("a deletion over several shards with one down reports what it deleted where", async () => {
  await withStore(async ({ etcds, ask }) => {
    for (const name of ["a1", "a2", "b1", "c1"]) await ask("put", put(name, "x"));
    await etcds[1].kill();
    const error = await refused(ask("deleteRange", ALL));
    assert.equal(error.code, Code.UNAVAILABLE);
    assert.match(
      error.message,
      /^etcd-braid: range deleted in part: shard "shard0" deleted 2; shard "shard1" failed: no endpoint reachable; shard "shard2" deleted 1$/,
    );
    await etcds[1].restart();
    const left = await ask("range", ALL);
    assert.deepEqual(
      left.kvs.map((kv) => text(kv.key)),
      ["b1"],
    );
  });
});

test("a compaction does not wait for a shard that is down, which is compacted when it is back", async () => {
  await withStore(async ({ etcds, proxy, ask }) => {
    await ask("put", put("b1", "old"));
    await ask("put", put("b1", "new"));
    const { revision } = (await ask("put", put("c1", "x"))).header!;
    await etcds[1].kill();
    const response = await ask("compact", { revision });
    assert.equal(response.header!.revision, revision);
    const old = await refused(ask("range", { ...key("c1"), revision: revision - 1 }));
    assert.match(old.message, /has been compacted/);
    const next = (await ask("put", put("c1", "y"))).header!.revision;
    const physical = await refused(ask("compact", { revision: next, physical: true }));
    assert.equal(physical.code, Code.UNAVAILABLE);
    assert.match(physical.message, /^shard "shard1"/);
    assert.equal(proxy.store.timeline.compactRevision, next, "decided without the shard");

    await etcds[1].restart();
    const direct = openPlain(etcds[1]);
    await until("the shard is compacted", async () => {
      const result = await outcome(direct.ask("range", { ...key("b1"), revision: 2 }));
      return result instanceof StatusError && result.message.includes("has been compacted");
    });
    direct.close();
    assert.equal(text((await ask("range", key("b1"))).kvs[0].value), "new");
  });
});

test("without the timeline host, no revision is invented, and serializable reads go on", async () => {
  await withStore(async ({ etcds, proxy, ask }) => {
    await ask("put", put("b1", "sealed"));
    const { revision } = (await ask("put", put("c1", "sealed"))).header!;
    await etcds[0].kill();
    const direct = openPlain(etcds[1]);
    await direct.ask("put", put("b1", "without a revision"));
    direct.close();

    const local = await ask("range", { ...key("b1"), serializable: true });
    assert.deepEqual([text(local.kvs[0].value), local.header!.revision], ["sealed", revision]);
    const several = await ask("range", { ...between("b", "d"), serializable: true });
    assert.deepEqual(
      several.kvs.map((kv) => text(kv.value)),
      ["sealed", "sealed"],
    );
    assert.equal((await refused(ask("range", key("b1")))).code, Code.UNAVAILABLE);
    assert.equal((await refused(ask("range", between("b", "d")))).code, Code.UNAVAILABLE);
    assert.match((await refused(ask("put", put("c1", "refused")))).message, /; nothing was written$/);

    await etcds[0].restart();
    await until("the host is connected", async () => proxy.store.host.isConnected);
    // This write was never acknowledged. It may still have no revision, but a read that sees it seals it.
    assert.equal(text((await ask("range", key("b1"))).kvs[0].value), "without a revision");
    assert.equal(text((await ask("range", key("c1"))).kvs[0].value), "sealed");
    const after = await ask("range", between("b", "d"));
    assert.deepEqual(
      after.kvs.map((kv) => [text(kv.value), kv.version]),
      [
        ["without a revision", 2],
        ["sealed", 1],
      ],
    );
    assert.equal(after.header!.revision, revision + 1);
  });
});

test("the error of an unsealed write says that it took effect, that of a no-op does not", async () => {
  await withStore(async ({ etcds, ask }) => {
    for (const name of ["b1", "b2", "c1"]) await ask("put", put(name, "sealed"));
    // The proxy does not know yet that the host is silent.
    await etcds[0].kill("SIGSTOP");
    const outcomes = await Promise.all([
      refused(ask("put", put("b1", "written"))),
      refused(ask("txn", { success: [{ kind: "put", request: put("b4", "written") }] })),
      refused(ask("deleteRange", key("b2"))),
      refused(ask("deleteRange", key("b3"))),
      refused(ask("txn", { success: [{ kind: "range", request: key("b1") }] })),
      refused(ask("range", key("b1"))),
    ]);
    for (const { code } of outcomes) assert.equal(code, Code.UNAVAILABLE);
    assert.deepEqual(
      outcomes.map(({ message }) => message.endsWith("; the write has taken effect")),
      [true, true, true, false, false, false],
    );
    await etcds[0].kill("SIGCONT");
    const { kvs } = await ask("range", between("b", "c"));
    assert.deepEqual(
      kvs.map((kv) => [text(kv.key), text(kv.value)]),
      [
        ["b1", "written"],
        ["b4", "written"],
      ],
    );
  });
});

test("a client's deadline and cancellation end its calls to shards", async () => {
  await withStore(async ({ etcds, proxy, ask }) => {
    for (const name of ["a1", "b1"]) await ask("put", put(name, "x"));
    const requests: [string, Uint8Array][] = [
      [KV.Range, RangeRequest.encode(key("b1"))],
      [KV.Range, RangeRequest.encode(ALL)],
      [KV.Put, PutRequest.encode(put("b1", "y"))],
    ];
    const finished = new TestCall(KV.Range);
    await invoke(proxy.handler(KV.Range), finished, requests[0][1]);
    assert.equal(finished.waiting, 0, "a finished call leaves no listener");

    await etcds[1].kill("SIGSTOP");
    try {
      for (const [path, request] of requests) {
        const started = Date.now();
        const late = new TestCall(path, started + 300);
        const error = await refused(invoke(proxy.handler(path), late, request));
        assert.equal(error.code, Code.DEADLINE_EXCEEDED);
        assert.ok(Date.now() - started < 3_000, "not after the shard's own timeout");

        const call = new TestCall(path);
        const result = refused(invoke(proxy.handler(path), call, request));
        call.cancel();
        assert.equal((await result).code, Code.CANCELLED);
        assert.equal(call.waiting, 0);

        const gone = new TestCall(path);
        gone.cancel();
        assert.equal((await refused(invoke(proxy.handler(path), gone, request))).code, Code.CANCELLED);
      }
    } finally {
      await etcds[1].kill("SIGCONT");
    }
  });
});
