import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { genDigits } from "../../src/reshard/gen.js";
import { Code, StatusError } from "../../src/status/error.js";
import { MARKS_BEGIN, MARKS_END } from "../../src/timeline/keys.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import { CompareResult, CompareTarget } from "../../src/wire/messages.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { bytes, text } from "./model.js";
import {
  type Ask,
  between,
  key,
  type Method,
  openPlain,
  openProxy,
  outcome,
  put,
  type Request,
  type TestProxy,
} from "./pair.js";

/*
 * Every write compares gen. A proxy that has missed a change of the placement on a shard writes nothing there. The tests
 * raise gen as a mover does, and set the position up to which the proxy has folded the log. Keys: "a" first shard, "b" second.
 */

let etcds: EtcdProcess[];
let proxy: TestProxy;
let shards: { ask: Ask; close(): void }[];
/** The position that the proxy has folded, and the one after its next read of the log's end. */
let folded = 0;
let logged = 0;
let syncs = 0;
/** gen on the second shard. */
let gen = 0;

before(async () => {
  etcds = await startEtcds(3);
  proxy = await openProxy(etcds);
  shards = etcds.map(openPlain);
  const { timeline } = proxy.store;
  Object.defineProperty(timeline, "placementPosition", { get: () => folded });
  const { sync } = SharedTimeline.prototype;
  timeline.sync = async () => {
    syncs++;
    await sync.call(timeline);
    folded = logged;
  };
});

after(async () => {
  proxy.stop();
  for (const { close } of shards) close();
  await Promise.all(etcds.map((etcd) => etcd.remove()));
});

/** Raises gen on a shard by one. Returns it. */
async function raise(shard = 1): Promise<number> {
  const { kvs } = await shards[shard].ask("range", { key: MARKS_BEGIN, rangeEnd: MARKS_END });
  const mark = kvs.find((each) => /^[0-9a-f]{16} /.test(text(each.value)))!;
  const next = Number.parseInt(text(mark.value).slice(0, 16), 16) + 1;
  const value = bytes(genDigits(next) + text(mark.value).slice(16));
  await shards[shard].ask("put", { key: mark.key, value });
  return next;
}

const HOLDS = {
  target: CompareTarget.VERSION,
  result: CompareResult.GREATER,
  key: bytes("b/here"),
  version: 0,
};
const FAILS = { ...HOLDS, result: CompareResult.LESS };
const write = (name: string) => ({ kind: "put" as const, request: put(name, "new") });
const read = (name: string) => ({ kind: "range" as const, request: key(name) });
const erase = (name: string) => ({ kind: "deleteRange" as const, request: { ...key(name), prevKv: true } });

type Named = { [M in Method]: [method: M, request: Request<M>] }[Method];

/** Writes on the second shard: name → request. */
const WRITES: Readonly<Record<string, Named>> = {
  put: ["put", put("b/new", "new")],
  "put with the previous value": ["put", { ...put("b/here", "new"), prevKv: true }],
  "put that keeps the value": ["put", { ...put("b/here"), ignoreValue: true }],
  "deletion of a key": ["deleteRange", { ...key("b/here"), prevKv: true }],
  "deletion of nothing": ["deleteRange", key("b/none")],
  "deletion of a range": ["deleteRange", between("b/", "b0")],
  "transaction that succeeds": ["txn", { compare: [HOLDS], success: [write("b/new")] }],
  "transaction that fails": ["txn", { compare: [FAILS], success: [write("b/new")] }],
  "transaction that fails and reads": [
    "txn",
    { compare: [FAILS], success: [write("b/new")], failure: [read("b/here"), read("b/none")] },
  ],
  "transaction without compares": ["txn", { success: [read("b/here"), write("b/new"), erase("b/here")] }],
  "transaction with a write if it fails, which succeeds": [
    "txn",
    { compare: [HOLDS], success: [write("b/new"), read("b/new")], failure: [erase("b/here")] },
  ],
  "transaction with a write if it fails, which fails": [
    "txn",
    { compare: [FAILS], success: [erase("b/here")], failure: [read("b/here"), write("b/new")] },
  ],
  "transaction that deletes on both branches": [
    "txn",
    { compare: [FAILS], success: [erase("b/here")], failure: [erase("b/here")] },
  ],
  "nested transaction": [
    "txn",
    {
      compare: [HOLDS],
      success: [
        {
          kind: "txn",
          request: {
            compare: [FAILS],
            success: [erase("b/here")],
            failure: [write("b/new"), read("b/here")],
          },
        },
        read("b/new"),
      ],
    },
  ],
  "nested transaction if it fails": [
    "txn",
    {
      compare: [FAILS],
      success: [read("b/here")],
      failure: [{ kind: "txn", request: { compare: [HOLDS], success: [write("b/new")] } }],
    },
  ],
};

/** All keys of the second shard that clients can see, read there. */
async function contents(): Promise<unknown> {
  const { kvs } = await shards[1].ask("range", between("\x01", "\0"));
  return kvs.map(({ key: name, value, modRevision, version }) => [
    text(name),
    text(value),
    modRevision,
    version,
  ]);
}

async function reset(): Promise<void> {
  await proxy.ask("deleteRange", between("b/new", "b/new0"));
  await proxy.ask("put", put("b/here", "old"));
}

/** A response without revisions and terms. */
const comparable = (response: unknown): unknown =>
  JSON.parse(
    JSON.stringify(response, (name, field) => {
      if (/revision|clusterId|memberId|raftTerm|version/i.test(name)) return undefined;
      return typeof field === "bigint" ? field.toString() : field;
    }),
  );

for (const [name, [method, request]] of Object.entries(WRITES)) {
  test(`a ${name} waits for the newest change of the placement on its shard`, async () => {
    const ask = () => proxy.ask(method, request as never) as Promise<unknown>;
    folded = logged = gen;
    await reset();
    const expected = comparable(await ask());
    await reset();

    gen = await raise();
    folded = gen - 1;
    // The log does not have the change: nothing is written, on this shard only.
    const kept = await contents();
    const refusal = await outcome(ask());
    assert.ok(refusal instanceof StatusError, `refused: ${JSON.stringify(comparable(refusal))}`);
    assert.equal(refusal.code, Code.FAILED_PRECONDITION);
    assert.match(
      refusal.message,
      /^shard "shard1": nothing was written: .* newer change of the placement \(\d+\)/,
    );
    assert.deepEqual(await contents(), kept);
    await proxy.ask("put", put("a/other", name));
    await proxy.ask("deleteRange", key("c/other"));
    assert.equal((await proxy.ask("range", key("b/here"))).count, 1, "reads go on");

    // The log has it: the proxy folds it and tries again.
    logged = gen;
    const before = syncs;
    assert.deepEqual(comparable(await ask()), expected);
    assert.equal(folded, gen);
    assert.ok(syncs > before, "the log was read");
    // From then on, one attempt is enough.
    await reset();
    const settled = syncs;
    assert.deepEqual(comparable(await ask()), expected);
    const endReads = /nothing|that fails$/.test(name) ? 1 : 0;
    assert.ok(syncs - settled <= endReads, `${syncs - settled} reads of the log's end`);
  });
}

test("a write that lands where gen is lower than the proxy's position is carried out", async () => {
  folded = logged = gen + 1000;
  await proxy.ask("put", put("b/here", "ahead"));
  const { kvs } = await proxy.ask("range", key("b/here"));
  assert.equal(text(kvs[0].value), "ahead");
  folded = logged = gen;
});

test("a deletion over several shards deletes nothing on the one with a newer change, and says so", async () => {
  folded = logged = gen;
  await reset();
  await proxy.ask("put", put("a/gone"));
  gen = await raise();
  const refusal = await outcome(proxy.ask("deleteRange", between("a", "c")));
  assert.ok(refusal instanceof StatusError, "refused");
  assert.match(refusal.message, /shard "shard0" deleted \d+; shard "shard1" failed: nothing was written/);
  assert.equal((await proxy.ask("range", key("b/here"))).count, 1);
  logged = gen;
  await proxy.ask("put", put("a/gone"));
  const { deleted } = await proxy.ask("deleteRange", between("a", "c"));
  assert.equal(deleted, 2);
});

test("a write is not repeated without end while the placement keeps changing", async () => {
  folded = logged = gen;
  const { sync } = proxy.store.timeline;
  let rounds = 0;
  gen = await raise();
  proxy.store.timeline.sync = async () => {
    rounds++;
    folded = gen;
    gen = await raise();
  };
  try {
    const refusal = await outcome(proxy.ask("put", put("b/here", "late")));
    assert.ok(refusal instanceof StatusError, "refused");
    assert.equal(refusal.code, Code.UNAVAILABLE);
    assert.match(
      refusal.message,
      /^shard "shard1": the placement has changed 8 times .* nothing was written/,
    );
    assert.equal(rounds, 8);
  } finally {
    proxy.store.timeline.sync = sync;
    folded = logged = gen;
  }
});

test("a shard whose mark is gone gets no writes", async () => {
  const { kvs } = await shards[2].ask("range", { key: MARKS_BEGIN, rangeEnd: MARKS_END });
  await shards[2].ask("deleteRange", { key: MARKS_BEGIN, rangeEnd: MARKS_END });
  const refusal = await outcome(proxy.ask("put", put("c/new")));
  assert.ok(refusal instanceof StatusError, "refused");
  assert.match(
    refusal.message,
    /^shard "shard2": nothing was written: the cluster does not have this store's mark/,
  );
  for (const { key: name, value } of kvs) await shards[2].ask("put", { key: name, value });
  await proxy.ask("put", put("c/new"));
});
