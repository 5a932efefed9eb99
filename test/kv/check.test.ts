import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPut, checkRange, checkSize, checkTxn } from "../../src/services/kv/check.js";
import { StatusError } from "../../src/status/error.js";
import {
  type Compare,
  DeleteRangeRequest,
  EMPTY,
  PutRequest,
  RangeRequest,
  type RequestOp,
  type TxnRequest,
} from "../../src/wire/messages.js";
import { bytes } from "./model.js";

const range = (key: string, fields: Partial<RangeRequest> = {}): RequestOp => ({
  kind: "range",
  request: { ...RangeRequest.decode(EMPTY), key: bytes(key), ...fields },
});
const put = (key: string, fields: Partial<PutRequest> = {}): RequestOp => ({
  kind: "put",
  request: { ...PutRequest.decode(EMPTY), key: bytes(key), ...fields },
});
const del = (key: string, end = ""): RequestOp => ({
  kind: "deleteRange",
  request: { ...DeleteRangeRequest.decode(EMPTY), key: bytes(key), rangeEnd: bytes(end) },
});
const branches = (success: RequestOp[], failure: RequestOp[] = [], compare: Compare[] = []): TxnRequest => ({
  compare,
  success,
  failure,
});
const nested = (success: RequestOp[], failure: RequestOp[] = []): RequestOp => ({
  kind: "txn",
  request: branches(success, failure),
});
const compare = (key: string): Compare => ({ result: 0, target: 0, key: bytes(key), rangeEnd: EMPTY });

/** The text of the refusal, "ok" without one. */
function verdict(check: () => void): string {
  try {
    check();
    return "ok";
  } catch (error) {
    assert.ok(error instanceof StatusError);
    return error.message.replace("etcdserver: ", "");
  }
}
const txn = (request: TxnRequest, maxOps = 128) => verdict(() => checkTxn(request, maxOps));

const EMPTY_KEY = "key is not provided";
const DUPLICATE = "duplicate key given in txn request";
const TOO_MANY = "too many operations in txn request";

test("a range needs a key and a valid sort option", () => {
  const check = (key: string, fields: object) =>
    verdict(() => checkRange({ ...RangeRequest.decode(EMPTY), key: bytes(key), ...fields }));
  assert.equal(check("", {}), EMPTY_KEY);
  assert.equal(check("", { sortOrder: 9 }), EMPTY_KEY);
  assert.equal(check("a", { sortOrder: 2, sortTarget: 4 }), "ok");
  for (const bad of [{ sortOrder: 3 }, { sortOrder: -1 }, { sortTarget: 5 }, { sortTarget: -1 }]) {
    assert.equal(check("a", bad), "invalid sort option");
  }
});

test("a put that ignores its value or lease must not have one", () => {
  const check = (key: string, fields: Partial<PutRequest>) =>
    verdict(() => checkPut({ ...PutRequest.decode(EMPTY), key: bytes(key), ...fields }));
  assert.equal(check("", { ignoreValue: true, value: bytes("v") }), EMPTY_KEY);
  assert.equal(check("a", { ignoreValue: true, value: bytes("v") }), "value is provided");
  assert.equal(check("a", { ignoreLease: true, lease: 1n }), "lease is provided");
  assert.equal(check("a", { ignoreValue: true, ignoreLease: true }), "ok");
});

test("a transaction's compares and operations are checked like separate requests", () => {
  assert.equal(txn(branches([], [], [compare("")])), EMPTY_KEY);
  assert.equal(txn(branches([range("")])), EMPTY_KEY);
  assert.equal(txn(branches([], [del("")])), EMPTY_KEY);
  assert.equal(txn(branches([put("a", { ignoreLease: true, lease: 7n })])), "lease is provided");
  assert.equal(txn(branches([nested([put("")])])), EMPTY_KEY);
  assert.equal(txn(branches([{ kind: "none" }])), "key not found");
  assert.equal(txn(branches([])), "ok");
});

test("the longest list of a transaction counts, and nested transactions share what is left", () => {
  const some = (n: number) => Array.from({ length: n }, (_, i) => range(`k${i}`));
  assert.equal(txn(branches(some(4), some(4)), 4), "ok");
  assert.equal(txn(branches(some(1), some(5)), 4), TOO_MANY);
  assert.equal(
    txn(
      branches(
        [],
        [],
        [1, 2, 3, 4, 5].map(() => compare("a")),
      ),
      4,
    ),
    TOO_MANY,
  );
  assert.equal(txn(branches([nested(some(3))]), 4), "ok");
  assert.equal(txn(branches([nested(some(4))]), 4), TOO_MANY);
  assert.equal(txn(branches([range("a"), nested(some(3))]), 4), TOO_MANY);
});

test("a key may be written once in a branch", () => {
  assert.equal(txn(branches([put("a"), put("a")])), DUPLICATE);
  assert.equal(txn(branches([put("a")], [put("a")])), "ok");
  assert.equal(txn(branches([], [put("a"), put("a")])), DUPLICATE);
  assert.equal(txn(branches([del("a"), put("a")])), DUPLICATE);
  assert.equal(txn(branches([del("a", "c"), put("b")])), DUPLICATE);
  assert.equal(txn(branches([del("a", "c"), put("c")])), "ok");
  assert.equal(txn(branches([del("a"), del("a", "z")])), "ok");
  assert.equal(txn(branches([del("c", "a"), put("b")])), "ok", "an empty range");
});

test("nested branches exclude each other, but not their siblings", () => {
  assert.equal(txn(branches([nested([put("a")], [put("a")])])), "ok");
  assert.equal(txn(branches([nested([put("a")]), nested([put("a")])])), DUPLICATE);
  assert.equal(txn(branches([nested([put("a")]), nested([], [put("a")])])), DUPLICATE);
  assert.equal(txn(branches([nested([put("a")]), put("a")])), DUPLICATE);
  assert.equal(txn(branches([nested([put("b")]), del("a", "c")])), DUPLICATE);
  assert.equal(txn(branches([nested([del("a", "c")]), put("b")])), DUPLICATE);
  assert.equal(txn(branches([nested([del("a", "c")], [put("b")])])), "ok");
});

test("duplicates that etcd does not detect are accepted", () => {
  assert.equal(txn(branches([del("a", "\0"), put("b")])), "ok", "an unbounded deletion");
  assert.equal(
    txn(branches([nested([put("b")]), nested([del("a", "c")])])),
    "ok",
    "a deletion after the put",
  );
  assert.equal(txn(branches([nested([del("a", "c")]), nested([put("b")])])), DUPLICATE);
});

test("a put does not keep what the transaction has deleted before, which crashes an etcd", () => {
  const rest = "\0";
  for (const kept of [{ ignoreValue: true }, { ignoreLease: true }]) {
    assert.equal(txn(branches([del("b", rest), put("b", kept)])), DUPLICATE);
    assert.equal(txn(branches([], [del("b", rest), del("c", rest), put("bb", kept)])), DUPLICATE);
    assert.equal(txn(branches([nested([], [del("b", rest)]), range("a"), put("c", kept)])), DUPLICATE);
    assert.equal(txn(branches([del("b", rest), nested([range("a"), nested([put("c", kept)])])])), DUPLICATE);
    // These do no harm.
    assert.equal(txn(branches([put("c", kept), del("b", rest)])), "ok");
    assert.equal(txn(branches([del("b", rest), put("a", kept)])), "ok");
    assert.equal(txn(branches([del("b", rest)], [put("c", kept)])), "ok");
    assert.equal(txn(branches([nested([del("b", rest)], [put("c", kept)])])), "ok");
  }
  assert.equal(txn(branches([del("b", rest), put("c")])), "ok");
});

test("many nested puts and deletions are checked quickly", () => {
  const list = (n: number, make: (i: number) => RequestOp) => Array.from({ length: n }, (_, i) => make(i));
  const deletes = list(42, (i) => nested(list(42, (j) => nested(list(42, (k) => del(`d${i}/${j}/${k}`))))));
  const puts = list(42, (i) => nested(list(42, (j) => nested(list(42, (k) => put(`p${i}/${j}/${k}`))))));
  const started = performance.now();
  assert.equal(txn(branches([nested(deletes), nested(puts)]), 170), "ok");
  assert.ok(performance.now() - started < 20_000);
});

test("a write is measured as etcd measures its Raft entry", () => {
  const limit = 1_572_864;
  assert.equal(
    verdict(() => checkSize(new Uint8Array(limit - 18), limit)),
    "ok",
  );
  assert.equal(
    verdict(() => checkSize(new Uint8Array(limit - 17), limit)),
    "request is too large",
  );
});
