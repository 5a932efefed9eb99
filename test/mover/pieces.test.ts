import assert from "node:assert/strict";
import { test } from "node:test";
import { Batches, deletions, runsOf } from "../../src/mover/batches.js";
import { Flow } from "../../src/mover/flow.js";
import { Imports } from "../../src/mover/imports.js";
import { Pipeline } from "../../src/mover/pipeline.js";
import { keyAfter } from "../../src/shard/rangeReader.js";
import { bytes, text } from "./support.js";

// Parts of the mover that need no shards.

const clock = { now: () => 0 };

/** Works that end when the test says so, and a record of when they ran. */
function works() {
  const log: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const work = (name: string) => () => {
    log.push(`+${name}`);
    return new Promise<void>((resolve, reject) => {
      ends.set(name, (error) => {
        log.push(`-${name}`);
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  };
  const end = async (name: string, error?: Error) => {
    ends.get(name)!(error);
    await new Promise(setImmediate);
  };
  return { log, work, end };
}

test("a pipeline runs works of one key in order, and others together up to its limit", async () => {
  const { log, work, end } = works();
  const pipeline = new Pipeline(2, new Flow(10), clock);
  await pipeline.run(["a"], work("a1"));
  const producer = (async () => {
    await pipeline.run(["b", "a"], work("ab"));
    await pipeline.run(["c"], work("c"));
    await pipeline.run(["d"], work("d"));
  })();
  await new Promise(setImmediate);
  assert.deepEqual(log, ["+a1"]);
  await end("a1");
  assert.deepEqual(log.slice(1), ["-a1", "+ab", "+c"]);
  await end("c");
  await producer;
  assert.deepEqual(log.slice(4), ["-c", "+d"]);
  let isDrained = false;
  const drained = pipeline.drain().then(() => {
    isDrained = true;
  });
  await end("ab");
  assert.ok(!isDrained);
  await end("d");
  await drained;
});

test("a pipeline bounds the keys of the works that run together, and lets half of them end first", async () => {
  const { log, work, end } = works();
  const pipeline = new Pipeline(10, new Flow(4), clock);
  const producer = (async () => {
    await pipeline.run(["a", "b", "c"], work("abc"));
    await pipeline.run(["d", "e"], work("de"));
    await pipeline.run(["f"], work("f"));
  })();
  await new Promise(setImmediate);
  assert.deepEqual(log, ["+abc", "+de"]);
  await end("de");
  assert.deepEqual(log.slice(2), ["-de"]);
  await end("abc");
  await producer;
  assert.deepEqual(log.slice(3), ["-abc", "+f"]);
  await end("f");
  await pipeline.drain();
});

test("fewer keys are in flight while transactions take longer than the fastest one, and more when they do not", () => {
  const flow = new Flow(512);
  const pass = (ms: number, transactions: number) => {
    for (let n = 0; n < transactions; n++) flow.learn(ms, 16);
    return flow.keys;
  };
  assert.equal(flow.keys, 32, "it begins with few");
  assert.equal(pass(1, 1_000), 512);
  assert.equal(pass(4.9, 1_000), 512, "large transactions take a little longer");
  const less = pass(5.1, 32);
  assert.ok(less < 512 && less > 400, `one window of slow ones changes little: ${less}`);
  assert.equal(pass(50, 1_000), 32);
  assert.ok(pass(2, 32) > 32);
  const far = new Flow(512);
  for (let n = 0; n < 1_000; n++) far.learn(30 + (n % 30), 16);
  assert.equal(far.keys, 512, "a distant shard is not a slow one");
  const small = new Flow(4);
  small.learn(1, 2);
  small.learn(100, 2);
  assert.equal(small.keys, 4);
});

test("after a failure, a pipeline begins no further work, and drain waits for the rest", async () => {
  const { log, work, end } = works();
  const pipeline = new Pipeline(2, new Flow(10), clock);
  await pipeline.run(["a"], work("a"));
  await pipeline.run(["b"], work("b"));
  const refused = assert.rejects(pipeline.run(["c"], work("c")), /broken/);
  await end("a", new Error("broken"));
  await refused;
  const drained = assert.rejects(pipeline.drain(), /broken/);
  await end("b");
  await drained;
  assert.deepEqual(log, ["+a", "+b", "-a", "-b"]);
});

test("imports are found in any order of their responses, and pruned", () => {
  const imports = new Imports();
  for (const [shardRevision, revision, offset] of [
    [12, 50, 0],
    [10, 90, 3],
    [11, 50, 0],
    [14, 60, 1],
  ])
    imports.add(shardRevision, revision, offset);
  assert.deepEqual(
    [10, 11, 13, 14].map((each) => imports.revisionOf(each)),
    [90, 50, 0, 60],
  );
  assert.deepEqual(
    [10, 11].map((each) => imports.offsetOf(each)),
    [3, 0],
  );
  imports.prune(13, new Set([11]));
  assert.deepEqual(imports.list(), {
    twins: { shardRevisions: [11, 14], revisions: [50, 60] },
    offsets: { lives: [14], offsets: [1] },
  });
});

test("transactions stay within the limits of operations and bytes, and have one revision each", () => {
  const limits = { maxTxnOps: 3, maxRequestBytes: 1_024 + 500 };
  const batches = new Batches(limits);
  const add = (revision: number, key: string, size: number) =>
    batches.add(1, revision, 0, { kind: "put", key: bytes(key), value: Buffer.alloc(size), lease: 0n });
  for (const key of ["a", "b", "c", "d"]) add(5, key, 10);
  add(6, "e", 300);
  add(6, "f", 300);
  add(6, "g", 5_000);
  batches.add(2, 6, 0, { kind: "delete", key: bytes("h") });
  const found = batches.all.map(({ target, revision, ops }) => [target, revision, ops.length]);
  assert.deepEqual(found, [
    [1, 5, 3],
    [1, 5, 1],
    [1, 6, 1],
    [1, 6, 1],
    [1, 6, 1],
    [2, 6, 1],
  ]);
});

const keyOf = (n: number) => bytes(`/${String(n).padStart(4, "0")}`);

/** Runs of keys, where all keys of a hundred may be deleted together. */
const runs = (count: number, maxKeys: number, perGroup = 100) =>
  runsOf(
    Array.from({ length: count }, (_, n) => keyOf(n)),
    (first, last) =>
      Math.floor(Number(text(first).slice(1)) / perGroup) ===
      Math.floor(Number(text(last).slice(1)) / perGroup),
    maxKeys,
  );

test("keys are deleted in runs that are as long as they may be", () => {
  const [first, second, third] = runs(250, 1_000);
  assert.deepEqual(first, { key: keyOf(0), end: keyAfter(keyOf(99)), keys: 100 });
  assert.deepEqual(second, { key: keyOf(100), end: keyAfter(keyOf(199)), keys: 100 });
  assert.deepEqual(third, { key: keyOf(200), end: keyAfter(keyOf(249)), keys: 50 });
  for (let perGroup = 1; perGroup < 30; perGroup++) {
    for (let maxKeys = 1; maxKeys < 30; maxKeys++) {
      const lengths = runs(60, maxKeys, perGroup).map(({ keys }) => keys);
      const expected: number[] = [];
      for (let from = 0; from < 60; from += expected.at(-1)!)
        expected.push(Math.min(maxKeys, perGroup - (from % perGroup), 60 - from));
      assert.deepEqual(lengths, expected, `groups of ${perGroup}, at most ${maxKeys}`);
    }
  }
  assert.deepEqual(runs(1, 10), [{ key: keyOf(0), end: undefined, keys: 1 }]);
});

test("transactions that delete stay within the limits of operations, bytes and keys", () => {
  const sizes = (limits: { maxTxnOps?: number; maxRequestBytes?: number; deleteKeys?: number }) => {
    const wide = { maxTxnOps: 100, maxRequestBytes: 100_000, deleteKeys: 1_000 };
    return deletions(runs(250, 30), { ...wide, ...limits }).map((group) => group.map(({ keys }) => keys));
  };
  assert.deepEqual(sizes({ maxTxnOps: 3 }), [[30, 30, 30], [10, 30, 30], [30, 10, 30], [20]]);
  assert.deepEqual(sizes({ deleteKeys: 60 }), [
    [30, 30],
    [30, 10],
    [30, 30],
    [30, 10],
    [30, 20],
  ]);
  assert.deepEqual(sizes({ maxRequestBytes: 1_024 + 200 })[0], [30, 30]);
});
