import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import { Pruner } from "../../src/timeline/pruner.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { until } from "../support/until.js";
import { bytes } from "./model.js";
import { MovingPair } from "./movingPair.js";
import { between, key, type Method, outcome, put, type TestProxy } from "./pair.js";

/*
 * A proxy that handles the responses of shards late: it was stopped, or cut off from the log. Meanwhile keys have moved, the store
 * was compacted, and the timeline has forgotten what clients need no more. Prefixes: a, b and c are on the shards 0, 1 and 2.
 */

const silent = { info() {}, warn() {} };

let pair: MovingPair;
let prompt: TestProxy;
let late: TestProxy;

before(async () => {
  pair = await MovingPair.open(2, { limits: { requestTimeoutMs: 4_000 } });
  [prompt, late] = pair.proxies;
});
after(() => pair.close());

/** Keeps what passes between a proxy and its shards, until it is released: the requests or the responses. */
function hold({ store }: TestProxy, what: "requests" | "responses") {
  const held: (() => void)[] = [];
  const shards = store.shards.all();
  const sending = shards.map(({ unary }) => unary);
  for (const shard of shards) {
    const { unary } = shard;
    shard.unary = (path, request, options, done) => {
      if (what === "requests") {
        held.push(() => unary.call(shard, path, request, options, done));
        return () => {};
      }
      return unary.call(shard, path, request, options, (...response) => held.push(() => done(...response)));
    };
  }
  return {
    until: (count: number) => until(`${count} ${what} are held`, () => held.length >= count),
    release(): void {
      for (const [index, shard] of shards.entries()) shard.unary = sending[index];
      for (const pass of held) pass();
    },
  };
}

/** Compacts at the newest revision. Resolves when both proxies know it. */
async function compact(): Promise<number> {
  const { revision } = (await prompt.ask("range", key("a"))).header!;
  await prompt.ask("compact", { revision });
  await late.store.timeline.sync();
  return revision;
}

/** Compacts at the newest revision and prunes. Resolves when both proxies have forgotten the older revisions. */
async function forget(): Promise<void> {
  const revision = await compact();
  const { timeline, shards } = prompt.store;
  const pruner = new Pruner(timeline, shards, systemRuntime, silent);
  await until("the timeline is pruned", () => pruner.prune());
  pruner.stop();
  for (const { store } of pair.proxies) {
    await until("a proxy knows of the pruning", () => store.timeline.prunedAt === revision);
    // While the log is reloaded, nothing else is folded.
    const { header } = await prompt.ask("put", put("c/next"));
    await until("the log is reloaded", () => store.timeline.head >= header!.revision);
  }
}

/** Writes that make older revisions of these keys superfluous, and segments of the timeline that end before and after them. */
async function overwrite(...names: string[]): Promise<void> {
  for (const name of names) {
    await prompt.ask("put", put("c/between"));
    await prompt.ask("put", put(name, "new"));
  }
  await prompt.ask("put", put("c/between"));
}

function assertLate(result: unknown, ...texts: RegExp[]): void {
  assert.ok(result instanceof StatusError, "the call has succeeded");
  assert.equal(result.code, Code.UNAVAILABLE);
  for (const text of texts) assert.match(result.message, text);
}

test("a write whose revision is forgotten has taken effect, and gets no other revision", async () => {
  const writes: readonly (readonly [Method, object])[] = [
    ["put", put("a1", "late")],
    ["put", { ...put("b1", "late"), prevKv: true }],
    ["deleteRange", key("b2")],
    ["txn", { success: [{ kind: "put", request: put("b3", "late") }] }],
    ["deleteRange", between("b4", "c1")],
  ];
  const names = ["a1", "b1", "b2", "b3", "b4", "c0"];
  await overwrite(...names);
  const responses = hold(late, "responses");
  const underway = writes.map(([method, request]) => outcome(late.ask(method, request as never)));
  await responses.until(6);
  await overwrite(...names);
  await forget();
  responses.release();
  const results = await Promise.all(underway);
  for (const [i, result] of results.slice(0, 4).entries())
    assertLate(result, i === 0 ? /^shard "shard0"/ : /^shard "shard1"/, /the write has taken effect$/);
  assertLate(results[4], /deleted in part: shard "shard1" .*taken effect; shard "shard2" .*taken effect$/);
});

test("a read whose state is forgotten is repeated", async () => {
  const txn = { success: [{ kind: "range", request: key("b1") }] };
  const failing = {
    compare: [{ ...key("b2"), target: 0, result: 0, version: 0 }],
    success: [{ kind: "put", request: put("b2", "never") }],
    failure: [{ kind: "range", request: key("b2") }],
  };
  const reads: readonly (readonly [Method, object])[] = [
    ["range", key("b1")],
    ["range", between("b", "c")],
    ["txn", txn],
    ["txn", failing],
    ["deleteRange", between("b~", "c")],
    ["range", between("b", "d")],
  ];
  await overwrite("b1", "b2", "b3");
  const responses = hold(late, "responses");
  const underway = reads.map(([method, request]) => outcome(late.ask(method, request as never)));
  await responses.until(7);
  await overwrite("b1", "b2", "b3");
  await forget();
  responses.release();
  for (const [i, [method, request]] of reads.entries())
    assert.deepEqual(await underway[i], await prompt.ask(method, request as never), `${i} ${method}`);
});

for (const isOld of [false, true]) {
  const when = isOld ? "an older revision" : "the newest revision";
  test(`a read at ${when}, which is forgotten by now, is refused`, async () => {
    await overwrite("b1", "b2");
    const { revision } = (await prompt.ask("range", key("b1"))).header!;
    if (isOld) await overwrite("b1", "b2");
    await late.store.timeline.sync();
    const responses = hold(late, "responses");
    const ranges = [key("b1"), between("b", "c"), between("b", "d")].map((range) => ({ ...range, revision }));
    const reads = (serializable: boolean) =>
      ranges.slice(0, 2).map((range) => ({ kind: "range" as const, request: { ...range, serializable } }));
    const underway = [
      ...ranges.map((range) => outcome(late.ask("range", range))),
      outcome(late.ask("txn", { success: reads(false) })),
      outcome(late.ask("txn", { success: reads(true) })),
    ];
    const write = { kind: "put" as const, request: put("b3", "late") };
    const written = outcome(late.ask("txn", { success: [...reads(false), write] }));
    await responses.until(7);
    if (!isOld) await overwrite("b1", "b2");
    await forget();
    responses.release();
    for (const [i, result] of (await Promise.all(underway)).entries()) {
      assert.ok(result instanceof StatusError, `read ${i} has succeeded`);
      assert.equal(result.message, "etcdserver: mvcc: required revision has been compacted");
    }
    assertLate(await written, /^shard "shard1"/, /the write has taken effect$/);
  });
}

test("a deletion is not reported in part if the moves that decide about its keys are forgotten", async () => {
  for (const name of ["a1", "a2", "b1"]) await prompt.ask("put", put(name));
  await pair.mover.plan(await pair.map([1, 1, 2]));
  await late.ask("range", key("a1"));
  const responses = hold(late, "responses");
  const deletion = outcome(late.ask("deleteRange", between("a1", "b2")));
  await responses.until(2);
  await prompt.ask("put", put("a3", "keeps the step from being empty"));
  await pair.mover.step(bytes("b"));
  await pair.mover.step(null);
  await pair.mover.finish();
  await prompt.ask("put", put("c1"));
  await compact();
  responses.release();
  assertLate(
    await deletion,
    /deleted in part: shard "shard0" .*which keys were deleted is unknown; shard "shard1" /,
  );
  assert.equal((await late.ask("range", { ...between("a1", "b2"), countOnly: true })).count, 1);
});

test("a deletion that gives up while keys move tells what it has deleted", async () => {
  for (const name of ["b1", "c1"]) await prompt.ask("put", put(name));
  await pair.mover.plan(await pair.map([0, 1, 2]));
  // Only keys with an "a" are in the next step, so the third shard has no part in it.
  await pair.mover.step(bytes("a"));
  await late.ask("range", key("a1"));
  const requests = hold(late, "requests");
  const deletion = outcome(late.ask("deleteRange", between("a1", "c2")));
  await requests.until(2);
  await pair.mover.step(bytes("b"), async (stage) => {
    if (stage !== "ready") return;
    requests.release();
    const result = await deletion;
    assertLate(result, /range deleted in part: shard "shard2" deleted \d; keys of this request are moving/);
    assert.doesNotMatch((result as StatusError).message, /nothing was written/);
  });
  await pair.mover.step(null);
  await pair.mover.finish();
});
