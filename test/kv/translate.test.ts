import assert from "node:assert/strict";
import { test } from "node:test";
import { checkRevisionInTxn, holds } from "../../src/services/kv/evaluate.js";
import {
  rangeHorizon,
  readAt,
  translateCompare,
  translateRange,
  translateTxn,
  txnHorizon,
} from "../../src/services/kv/translate.js";
import { Code, StatusError } from "../../src/status/error.js";
import type { TimelineView } from "../../src/timeline/view.js";
import {
  type Compare,
  EMPTY,
  RangeRequest,
  type RequestOp,
  type TxnRequest,
} from "../../src/wire/messages.js";
import { bytes, KEYS, PlainView, Random, randomWorld, rangeOf, seed, stateAt, text } from "./model.js";

const range = (fields: Partial<RangeRequest>): RangeRequest => ({ ...RangeRequest.decode(EMPTY), ...fields });
const txn = (fields: Partial<TxnRequest>): TxnRequest => ({
  compare: [],
  success: [],
  failure: [],
  ...fields,
});

test("a translated compare holds on the shard when the original holds on the whole store", () => {
  const start = seed();
  for (let run = 0; run < 200; run++) {
    const random = new Random(start + run);
    const world = randomWorld(random, 1 + random.below(4), random.below(40));
    const { view } = world;
    for (let i = 0; i < 60; i++) {
      const key = random.pick([...KEYS, "missing"]);
      const shard = key === "missing" ? 0 : world.shardOf(key);
      const revision = random.below(view.head + 5) - 2;
      const fields = random.pick([
        { target: 1, createRevision: revision },
        { target: 2, modRevision: revision },
        { target: 2, createRevision: revision },
        { target: 1 },
        { target: 0, version: random.below(4) },
        { target: 3, value: bytes(random.pick(["", "x", "y"])) },
        { target: 4, lease: BigInt(random.below(3)) },
      ] as const);
      const compare: Compare = {
        ...fields,
        result: random.pick([0, 1, 2, 3]),
        key: bytes(key),
        rangeEnd: EMPTY,
      };
      const of = (kvs: ReturnType<typeof stateAt>) => kvs.filter((kv) => text(kv.key) === key);
      const onWhole = holds(compare, of(stateAt(world.whole, view.head)));
      const translated = translateCompare(compare, view, shard);
      const onShard = holds(translated, of(stateAt(world.shards[shard], view.cut(shard))));
      assert.equal(
        onShard,
        onWhole,
        `SEED=${start + run}, compare ${i}: ${key} ${JSON.stringify({ ...fields, lease: undefined, result: compare.result })}`,
      );
    }
  }
});

test("a transaction without revisions and reserved keys is unchanged", () => {
  const view = new PlainView(2, [0, 1, 0]);
  const request = txn({
    compare: [
      { result: 0, target: 0, key: bytes("a"), rangeEnd: EMPTY, version: 3 },
      { result: 0, target: 2, key: bytes("a"), rangeEnd: EMPTY, modRevision: 0 },
    ],
    success: [{ kind: "range", request: range({ key: bytes("a"), revision: -1 }) }],
    failure: [
      { kind: "txn", request: txn({ success: [{ kind: "range", request: range({ key: bytes("b") }) }] }) },
    ],
  });
  assert.equal(translateTxn(request, view, 0), request);
  assert.equal(txnHorizon(request), 0);
});

test("a nested transaction is translated, and its siblings are unchanged", () => {
  const view = new PlainView(2, [0, 1, 1, 0]);
  const put: RequestOp = {
    kind: "put",
    request: {
      key: bytes("a"),
      value: EMPTY,
      lease: 0n,
      prevKv: false,
      ignoreLease: false,
      ignoreValue: false,
    },
  };
  const compare: Compare = { result: 0, target: 2, key: bytes("a"), rangeEnd: EMPTY, modRevision: 5 };
  const request = txn({ success: [put, { kind: "txn", request: txn({ compare: [compare] }) }] });
  const translated = translateTxn(request, view, 0);
  assert.equal(translated.success[0], put);
  const nested = translated.success[1];
  assert.ok(nested.kind === "txn");
  assert.equal(nested.request.compare[0].modRevision, 3);
  assert.equal(translateTxn(request, view, 1).success[1].kind, "txn");
  assert.equal(txnHorizon(request), 5);
});

test("a range's revision in a transaction fails on the shard only where its branch is taken", () => {
  const view = new PlainView(2, [0, 1, 1, 0, 0]);
  view.compactRevision = 3;
  const translated = (revision: number) => {
    const op = translateTxn(
      txn({ success: [{ kind: "range", request: range({ key: bytes("a"), revision }) }] }),
      view,
      0,
    ).success[0];
    assert.ok(op.kind === "range");
    return op.request.revision;
  };
  assert.equal(translated(2), -2, "compacted on every etcd");
  assert.equal(translated(3), 2);
  assert.equal(translated(5), 3);
  assert.equal(translated(7), Number.MAX_SAFE_INTEGER, "beyond every revision");
  assert.equal(translated(-1), -1, "etcd decides");
});

test("a bound before a shard's first revision remains a bound", () => {
  const view = { head: 10, compactRevision: 0, cutAt: () => 0 } as unknown as TimelineView;
  const translated = translateRange(range({ maxModRevision: 4, maxCreateRevision: 4 }), 0, view, 0);
  assert.deepEqual([translated.maxModRevision, translated.maxCreateRevision], [1, 1]);
  assert.equal(readAt(4, view, 0), 1, "0 would read the newest state");
});

test("only revisions that the translation depends on count for the horizon", () => {
  assert.equal(rangeHorizon(range({})), 0);
  assert.equal(rangeHorizon(range({ revision: -3, minModRevision: -1 })), 0);
  assert.equal(rangeHorizon(range({ minModRevision: 8, maxCreateRevision: 5 })), 7);
  const compare = (result: 0 | 1 | 2 | 3) =>
    txnHorizon(
      txn({ compare: [{ result, target: 1, key: bytes("a"), rangeEnd: EMPTY, createRevision: 9 }] }),
    );
  assert.deepEqual([compare(0), compare(1), compare(2), compare(3)], [9, 9, 8, 9]);
  assert.equal(txnHorizon(txn({ failure: [{ kind: "range", request: range({ revision: 4 }) }] })), 4);
});

test("ranges are clipped to visible keys, or sent with a key that never exists", () => {
  const view = new PlainView(1, [0]);
  const request = txn({
    compare: [{ result: 0, target: 0, key: bytes("\0braid/base"), rangeEnd: EMPTY, version: 0 }],
    success: [
      { kind: "range", request: range({ key: bytes("\0"), rangeEnd: bytes("\0") }) },
      { kind: "deleteRange", request: { key: bytes("\0a"), rangeEnd: bytes("\0b"), prevKv: false } },
      { kind: "deleteRange", request: { key: bytes("\0a"), rangeEnd: bytes("b"), prevKv: true } },
    ],
  });
  const { compare, success } = translateTxn(request, view, 0);
  const ranges = [
    compare[0],
    ...success.map((op) => (op.kind === "none" ? undefined : (op.request as RangeRequest))),
  ];
  assert.deepEqual(
    ranges.map((range) => range && [text(range.key), text(range.rangeEnd)]),
    [
      ["\0", ""],
      ["\x01", "\0"],
      ["\0", ""],
      ["\x01", "b"],
    ],
  );
});

test("a transaction's revisions are checked as in etcd, including negative ones", () => {
  const view = new PlainView(1, [0, 0, 0, 0]);
  const judge = (revision: number): string => {
    try {
      checkRevisionInTxn({ kind: "range", request: range({ revision }) }, view.head, view);
      return "ok";
    } catch (error) {
      assert.ok(error instanceof StatusError && error.code === Code.OUT_OF_RANGE);
      return error.message.includes("future") ? "future" : "compacted";
    }
  };
  assert.deepEqual([-2, -1, 0, 1, 5, 6].map(judge), ["compacted", "ok", "ok", "ok", "ok", "future"]);
  view.compactRevision = 3;
  assert.deepEqual([-1, 0, 2, 3, 5].map(judge), ["compacted", "ok", "compacted", "ok", "ok"]);
});

test("the reference model applies limits as etcd does", () => {
  const put = (revision: number, key: string) => ({ revision, key, value: "v", lease: 0n });
  const changes = [put(2, "b"), put(3, "a"), put(4, "c")];
  const all = { key: bytes("a"), rangeEnd: bytes("\0"), limit: 1 };
  const keys = (fields: Partial<RangeRequest>) =>
    rangeOf(changes, 4, { ...all, ...fields }).kvs.map((kv) => text(kv.key));
  assert.deepEqual(keys({ sortTarget: 2 }), ["b"], "sorted by creation among the first two keys only");
  assert.deepEqual(keys({ sortTarget: 2, sortOrder: 2 }), ["c"], "sorted among all");
});
