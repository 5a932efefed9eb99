import assert from "node:assert/strict";
import { test } from "node:test";
import { openShard } from "../../src/shard/client.js";
import { markKey } from "../../src/timeline/keys.js";
import { decodeMarks, encodeClaim, encodeMark, newStoreId, withPlace } from "../../src/timeline/mark.js";
import {
  CompareResult,
  CompareTarget,
  PutRequest,
  TxnRequest,
  TxnResponse,
} from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { startEtcd } from "../support/etcd.js";

const STORE = "00c0ffee00c0ffee";
const MARK = { store: STORE, name: "a", index: 0, host: { name: "b", clusterId: "18446744073709551615" } };

/** As etcd returns it. */
const stored = ({ key, value }: { key: Buffer; value: Buffer }, createRevision = 2, modRevision = 2) => ({
  key,
  value,
  createRevision,
  modRevision,
  version: 1,
  lease: 0n,
});
const hex = (generation: number) => generation.toString(16).padStart(16, "0");

test("marks and claims are decoded as encoded, with their revisions", () => {
  const claim = encodeClaim(STORE, MARK.host);
  assert.deepEqual(decodeMarks([stored(encodeMark(MARK), 9, 12), stored(claim, 5, 5)]), {
    marks: [MARK],
    claims: [{ store: STORE, host: MARK.host }],
    revisions: [5, 9, 12],
  });
});

test("a mark with another host keeps its generation", () => {
  const { key, value } = encodeMark(MARK);
  const raised = Buffer.from(value.toString().replace(hex(0), hex(0xabc)));
  const moved = withPlace(raised, { host: { name: "c", clusterId: "7" } });
  assert.ok(moved.toString().startsWith(`${hex(0xabc)} {`));
  assert.deepEqual(decodeMarks([stored({ key, value: moved })]).marks, [
    { ...MARK, host: { name: "c", clusterId: "7" } },
  ]);
});

test("unknown formats are refused, and so are values that are not marks", () => {
  const { key, value } = encodeMark(MARK);
  const newer = Buffer.from(value.toString().replace('"format":1', '"format":2'));
  assert.throws(() => decodeMarks([stored({ key, value: newer })]), /has format 2; .* supports format 1/);
  for (const text of ["", "x", hex(0), `${hex(0)} 5`, `${hex(0)} null`]) {
    assert.throws(() => decodeMarks([stored({ key, value: Buffer.from(text) })]), /has format unknown/);
  }
});

test("store ids have 64 bits and differ", () => {
  const ids = Array.from({ length: 100 }, newStoreId);
  assert.equal(new Set(ids).size, 100);
  for (const id of ids) assert.match(id, /^[0-9a-f]{16}$/);
});

test("etcd compares the generation as a prefix, and the compare fails on a cluster without the mark", async () => {
  const etcd = await startEtcd();
  const log = { debug() {}, info() {}, warn() {} };
  const limits = { requestTimeoutMs: 20_000, connectTimeoutMs: 5_000 };
  const shard = openShard({ index: 0, name: "a", endpoints: [etcd.endpoint], ...limits, log });
  const { key, value } = encodeMark(MARK);
  const put = (generation: number) =>
    shard.call(
      KV.Put,
      PutRequest.encode({ key, value: Buffer.from(value.toString().replace(hex(0), hex(generation))) }),
      { idempotent: false },
    );
  /** Whether a write of a proxy that knows the placement up to `position` would land. */
  const lands = async (position: number, store = STORE) => {
    const compare = {
      target: CompareTarget.VALUE,
      result: CompareResult.LESS,
      key: markKey(store),
      value: Buffer.from(hex(position + 1)),
    };
    const request = TxnRequest.encode({ compare: [compare] });
    return TxnResponse.decode(await shard.call(KV.Txn, request, { idempotent: false })).succeeded;
  };
  try {
    for (const generation of [0, 7, 15, 16, 0xffff]) {
      await put(generation);
      assert.deepEqual(
        await Promise.all([generation - 1, generation, generation + 1].map((position) => lands(position))),
        [false, true, true],
        `${generation}`,
      );
    }
    assert.equal(await lands(2 ** 40, newStoreId()), false);
  } finally {
    shard.close();
    await etcd.remove();
  }
});
