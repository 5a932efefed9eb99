import assert from "node:assert/strict";
import { test } from "node:test";
import type { Router } from "../../src/routing/router.js";
import { quoteRange, visible } from "../../src/services/kv/keyspace.js";
import { acrossShards, shapeOf } from "../../src/services/kv/txnShape.js";
import { StatusError } from "../../src/status/error.js";
import {
  DeleteRangeRequest,
  EMPTY,
  PutRequest,
  RangeRequest,
  type RequestOp,
  type TxnRequest,
} from "../../src/wire/messages.js";
import { shardSet } from "../support/shardSet.js";
import { bytes, text } from "./model.js";

/** Keys up to "m" are on shard 0, others on shard 1. */
const router: Router = {
  shardCount: 2,
  shardOf: (key) => (text(key) < "m" ? 0 : 1),
  shardsOf: (key, rangeEnd) => {
    const [from, end] = [text(key), text(rangeEnd)];
    if (end !== "\0" && end <= from) return [];
    const shards = [];
    if (from < "m") shards.push(0);
    if (end === "\0" || end > "m") shards.push(1);
    return shards;
  },
  homeOf: () => 0,
};
const names = [{ name: "left" }, { name: "right" }];

const range = (key: string, end = "", fields: Partial<RangeRequest> = {}): RequestOp => ({
  kind: "range",
  request: { ...RangeRequest.decode(EMPTY), key: bytes(key), rangeEnd: bytes(end), ...fields },
});
const put = (key: string, lease = 0n): RequestOp => ({
  kind: "put",
  request: { ...PutRequest.decode(EMPTY), key: bytes(key), lease },
});
const del = (key: string, end = ""): RequestOp => ({
  kind: "deleteRange",
  request: { ...DeleteRangeRequest.decode(EMPTY), key: bytes(key), rangeEnd: bytes(end) },
});
const txn = (success: RequestOp[], failure: RequestOp[] = []): TxnRequest => ({
  compare: [],
  success,
  failure,
});
const nested = (success: RequestOp[], failure: RequestOp[] = []): RequestOp => ({
  kind: "txn",
  request: txn(success, failure),
});

test("all keys of a range count, not only the first", () => {
  assert.deepEqual(shapeOf(txn([put("a"), range("a", "b")]), router).shards, [0]);
  assert.deepEqual(shapeOf(txn([put("a"), range("a", "n")]), router).shards, [0, 1]);
  assert.deepEqual(shapeOf(txn([range("z", "a")]), router).shards, []);
});

test("every compare and every branch at every depth counts", () => {
  const compare = { result: 0, target: 0, key: bytes("z"), rangeEnd: EMPTY } as const;
  assert.deepEqual(shapeOf({ ...txn([put("a")]), compare: [compare] }, router).shards, [1, 0]);
  const deep = txn([put("a")], [nested([], [nested([range("x")])])]);
  const shape = shapeOf(deep, router);
  assert.deepEqual([shape.shards, shape.writes, shape.readOnly], [[0, 1], true, false]);
});

test("only a transaction that can write counts as writing", () => {
  assert.equal(shapeOf(txn([range("a")]), router).writes, false);
  assert.equal(shapeOf(txn([], [nested([del("a")])]), router).writes, true);
  assert.equal(shapeOf(txn([del("c", "b"), range("a", "z")]), router).writes, false, "an empty range");
  assert.equal(shapeOf(txn([del("\0a", "\0b"), range("a", "z")]), router).writes, false, "a reserved range");
});

test("a transaction is serializable when all its ranges are", () => {
  const local = { serializable: true };
  assert.equal(shapeOf(txn([range("a", "", local)], [range("b", "", local)]), router).serializable, true);
  assert.equal(shapeOf(txn([range("a", "", local)], [range("b")]), router).serializable, false);
  assert.equal(shapeOf(txn([nested([range("a", "", local)])]), router).serializable, false);
  assert.equal(shapeOf(txn([]), router).serializable, false);
});

test("each lease is listed once", () => {
  const shape = shapeOf(txn([put("a", 5n), put("b"), nested([put("c", 6n)], [put("c", 5n)])]), router);
  assert.deepEqual(shape.leases, [5n, 6n]);
});

test("writes of single reserved keys are refused, ranges are not", () => {
  const refusal = (request: TxnRequest) => {
    try {
      shapeOf(request, router);
      return undefined;
    } catch (error) {
      assert.ok(error instanceof StatusError);
      return error.message;
    }
  };
  assert.match(refusal(txn([put("\0braid/base")])) ?? "", /"\\x00braid\/base" is reserved/);
  assert.match(refusal(txn([], [nested([del("\0x")])])) ?? "", /"\\x00x" is reserved/);
  assert.equal(refusal(txn([del("\0", "\0"), range("\0x")])), undefined);
});

test("the error says which key or range is where, with every shard", () => {
  const request = txn([put("a"), put("b"), range("a", "n")], [range("z")]);
  assert.equal(
    acrossShards(request, router, shardSet(names)).message,
    'etcd-braid: transaction would write across shards: "a" is on shard "left", ["a", "n") is on shards "left", "right", ' +
      '"z" is on shard "right", "b" is on shard "left"; a transaction that writes must stay on one shard',
  );
  const many = txn(Array.from({ length: 20 }, (_, i) => put(`a${i}`)).concat(put("z")));
  const message = acrossShards(many, router, shardSet(names)).message;
  assert.match(message, /"z" is on shard "right"/);
  assert.match(message, /, and 13 more;/);
});

test("only what lies outside the reserved keyspace is visible", () => {
  const part = (key: string, end: string) => {
    const seen = visible({ key: bytes(key), rangeEnd: bytes(end) });
    return seen && [text(seen.key), text(seen.rangeEnd)];
  };
  assert.deepEqual(part("a", ""), ["a", ""]);
  assert.deepEqual(part("a", "\0"), ["a", "\0"]);
  assert.deepEqual(part("\0", "\0"), ["\x01", "\0"]);
  assert.deepEqual(part("\0zz", "b"), ["\x01", "b"]);
  assert.equal(part("\0", ""), undefined);
  assert.equal(part("\0a", "\0b"), undefined);
  assert.equal(part("\0a", "\x01"), undefined);
  assert.deepEqual(part("\0a", "\x01\0"), ["\x01", "\x01\0"]);
});

test("keys in messages are one short line of ASCII", () => {
  assert.equal(quoteRange({ key: bytes("a\n\xff"), rangeEnd: EMPTY }), '"a\\x0a\\xff"');
  assert.equal(quoteRange({ key: bytes("a"), rangeEnd: bytes("\0") }), '["a", end)');
  assert.ok(quoteRange({ key: new Uint8Array(5000).fill(97), rangeEnd: EMPTY }).length < 100);
});
