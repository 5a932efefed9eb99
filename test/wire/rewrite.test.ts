import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import { HeaderTemplate } from "../../src/wire/header.js";
import {
  type Codec,
  DeleteRangeResponse,
  type KeyValue,
  LeaseGrantResponse,
  PutResponse,
  RangeResponse,
  type ResponseHeader,
  type ResponseOp,
  TxnResponse,
} from "../../src/wire/messages.js";
import { RangeMerge } from "../../src/wire/rangeMerge.js";
import { RangePart } from "../../src/wire/rangePart.js";
import {
  deletedCount,
  encodeHeader,
  peekHeader,
  peekRevision,
  replaceHeader,
  rewriteDeleteRange,
  rewritePut,
  rewriteRange,
  rewriteTxn,
  txnWrote,
} from "../../src/wire/rewrite.js";
import { damage, Random, randomMessage, type Style, seed } from "./random.js";
import { hex, lookup, plain } from "./reference.js";

console.log(`# SEED=${seed}`);

const header: ResponseHeader = {
  clusterId: 2n ** 64n - 3n,
  memberId: 77n,
  revision: 2 ** 40 + 5,
  raftTerm: 9,
};
const field = encodeHeader(header);

/** Makes varints longer and shorter, and keeps 0. */
const map = (revision: number): number => (revision === 0 ? 0 : revision > 2 ** 30 ? 3 : revision * 1000 + 7);
const inner = (revision: number): number => (revision > 1000 ? 1 : 2 ** 50);

const cases: {
  name: string;
  codec: Codec<object>;
  rewrite: (response: Uint8Array) => Uint8Array;
  model: (message: never) => object;
}[] = [
  {
    name: "RangeResponse",
    codec: RangeResponse,
    rewrite: (response) => rewriteRange(response, field, map),
    model: (m: RangeResponse) => ({ ...m, header, kvs: m.kvs.map(mapKv) }),
  },
  {
    name: "PutResponse",
    codec: PutResponse,
    rewrite: (response) => rewritePut(response, field, map),
    model: (m: PutResponse) => ({ ...m, header, ...mapPrev(m) }),
  },
  {
    name: "DeleteRangeResponse",
    codec: DeleteRangeResponse,
    rewrite: (response) => rewriteDeleteRange(response, field, map),
    model: (m: DeleteRangeResponse) => ({ ...m, header, prevKvs: m.prevKvs.map(mapKv) }),
  },
  {
    name: "TxnResponse",
    codec: TxnResponse,
    rewrite: (response) => rewriteTxn(response, field, map, inner),
    model: (m: TxnResponse) => ({ ...mapTxn(m), header }),
  },
  {
    name: "LeaseGrantResponse",
    codec: LeaseGrantResponse,
    rewrite: (response) => replaceHeader(response, field),
    model: (m: LeaseGrantResponse) => ({ ...m, header }),
  },
];

for (const [index, { name, codec, rewrite, model }] of cases.entries()) {
  const type = lookup(name);

  test(`${name}: rewriting equals decoding, mapping and encoding, to the byte`, () => {
    const random = new Random(seed + index);
    for (let i = 0; i < 500; i++) {
      const response = explicit(codec, randomMessage(random, type, "canonical"));
      const before = hex(response);
      const expected = model(codec.decode(response) as never);
      const actual = rewrite(response);
      assert.equal(hex(actual), hex(codec.encode(expected)), before);
      assert.equal(hex(response), before, "the response itself was changed");
    }
  });

  test(`${name}: fields in any order and form are rewritten`, () => {
    const random = new Random(seed + 100 + index);
    for (let i = 0; i < 1000; i++) {
      const response = randomMessage(random, type, "loose");
      const expected = model(codec.decode(response) as never);
      assert.deepEqual(plain(codec.decode(rewrite(response))), plain(codec.decode(codec.encode(expected))));
    }
  });

  test(`${name}: malformed responses are INVALID_ARGUMENT, as in decoding`, () => {
    const random = new Random(seed + 200 + index);
    for (let i = 0; i < 3000; i++) {
      const style: Style = random.pick(["canonical", "loose"]);
      const response = damage(random, randomMessage(random, type, style));
      const decoded = refused(() => codec.decode(response));
      const rewritten = refused(() => rewrite(response));
      // `replaceHeader` does not know the fields after the header. All others are as strict as decoding.
      if (name !== "LeaseGrantResponse") assert.equal(rewritten, decoded, hex(response));
      else if (rewritten) assert.ok(decoded, hex(response));
    }
  });
}

test("the header field decodes to the header, and is read from any response", () => {
  const random = new Random(seed + 300);
  for (const { codec, rewrite, name } of cases) {
    assert.deepEqual((codec.decode(rewrite(codec.encode({}))) as { header: ResponseHeader }).header, header);
    for (let i = 0; i < 300; i++) {
      const response = randomMessage(random, lookup(name), "canonical");
      const own = (codec.decode(response) as { header?: ResponseHeader }).header;
      const expected = own ?? { clusterId: 0n, memberId: 0n, revision: 0, raftTerm: 0 };
      assert.deepEqual(peekHeader(response), expected);
      assert.equal(peekRevision(response), expected.revision);
      assert.deepEqual(peekHeader(rewrite(response)), header);
      assert.equal(peekRevision(rewrite(response)), header.revision);
    }
  }
  assert.deepEqual(peekHeader(encodeHeader({ ...header, revision: -1 })), { ...header, revision: -1 });
  const largest = { clusterId: 2n ** 64n - 1n, memberId: 2n ** 64n - 1n, raftTerm: 2 ** 53 };
  for (const ids of [header, largest, { clusterId: 1n, memberId: 1n, raftTerm: 0 }]) {
    const template = new HeaderTemplate(ids);
    for (const revision of [1, 127, 128, 2 ** 31, 2 ** 32 + 1, 2 ** 53 - 1]) {
      assert.deepEqual(template.encode(revision), encodeHeader({ ...ids, revision }));
    }
  }
});

test("a header after other fields is found and replaced", () => {
  const response = Buffer.concat([
    RangeResponse.encode({ count: 7 }),
    encodeHeader({ ...header, revision: 12 }),
  ]);
  assert.equal(peekRevision(response), 12);
  assert.equal(peekHeader(response).revision, 12);
  const rewritten = rewriteRange(response, field, map);
  assert.equal(hex(rewritten), hex(RangeResponse.encode({ header, count: 7 })));
});

test("a transaction wrote if it has a put or a deletion of a key at any depth", () => {
  const random = new Random(seed + 400);
  const seen = { true: 0, false: 0 };
  for (let i = 0; i < 1000; i++) {
    const response = randomMessage(random, lookup("TxnResponse"), "canonical");
    const expected = wrote(TxnResponse.decode(response));
    assert.equal(txnWrote(response), expected, hex(response));
    seen[`${expected}`]++;
  }
  assert.ok(seen.true > 50 && seen.false > 50, "the random transactions do not cover both");
  const nested = (deleted: number): Uint8Array =>
    TxnResponse.encode({
      responses: [
        { kind: "range", response: { count: 3 } },
        { kind: "txn", response: { responses: [{ kind: "deleteRange", response: { deleted } }] } },
      ],
    });
  assert.equal(txnWrote(nested(0)), false);
  assert.equal(txnWrote(nested(1)), true);
});

test("deletedCount returns the count", () => {
  assert.equal(
    deletedCount(DeleteRangeResponse.encode({ header, deleted: 300, prevKvs: [{ version: 4 }] })),
    300,
  );
  assert.equal(deletedCount(DeleteRangeResponse.encode({ header })), 0);
});

test("a mapping that throws does not affect later calls", () => {
  const response = RangeResponse.encode({ kvs: [{ key: Buffer.from("k"), modRevision: 5 }] });
  const fail = (): number => {
    throw new Error("no such revision");
  };
  assert.throws(() => rewriteRange(response, field, fail), /no such revision/);
  assert.equal(RangeResponse.decode(rewriteRange(response, field, map)).kvs[0].modRevision, map(5));
});

function mapKv(kv: KeyValue): KeyValue {
  return { ...kv, createRevision: map(kv.createRevision), modRevision: map(kv.modRevision) };
}

function mapPrev(m: PutResponse): { prevKv?: KeyValue } {
  return m.prevKv === undefined ? {} : { prevKv: mapKv(m.prevKv) };
}

function mapInner<T extends { header?: ResponseHeader }>(m: T): T {
  // A header without a revision is not mapped.
  if (m.header === undefined || m.header.revision === 0) return m;
  return { ...m, header: { ...m.header, revision: inner(m.header.revision) } };
}

function mapTxn(m: TxnResponse): TxnResponse {
  return { ...m, responses: m.responses.map(mapOp) };
}

function mapOp(op: ResponseOp): ResponseOp {
  switch (op.kind) {
    case "range":
      return { ...op, response: mapInner({ ...op.response, kvs: op.response.kvs.map(mapKv) }) };
    case "put":
      return { ...op, response: mapInner({ ...op.response, ...mapPrev(op.response) }) };
    case "deleteRange":
      return { ...op, response: mapInner({ ...op.response, prevKvs: op.response.prevKvs.map(mapKv) }) };
    case "txn":
      return { ...op, response: mapInner(mapTxn(op.response)) };
    case "none":
      return op;
  }
}

function wrote(m: TxnResponse): boolean {
  return m.responses.some(
    (op) =>
      op.kind === "put" ||
      (op.kind === "deleteRange" && op.response.deleted > 0) ||
      (op.kind === "txn" && wrote(op.response)),
  );
}

/** Encodes the message again by src/wire, so that bytes can be compared. */
function explicit(codec: Codec<object>, bytes: Uint8Array): Uint8Array {
  return codec.encode(codec.decode(bytes));
}

function refused(run: () => unknown): boolean {
  try {
    run();
    return false;
  } catch (error) {
    if (error instanceof StatusError && error.code === Code.INVALID_ARGUMENT) return true;
    throw error;
  }
}

test("versions get the offset of the key's life, in all responses and both ways of reading a range", () => {
  // 4 has an offset that makes the version's varint longer, 9 none.
  const offsets = Object.assign((revision: number) => revision + 100, {
    versionOffset: (created: number) => (created === 4 ? 300 : 0),
  });
  const kv = (createRevision: number, version: number): KeyValue => ({
    key: Buffer.from("k"),
    createRevision,
    modRevision: 12,
    version,
    value: Buffer.from("v"),
    lease: 5n,
  });
  const shard: ResponseHeader = { clusterId: 1n, memberId: 1n, revision: 20, raftTerm: 1 };
  const kvs = [kv(4, 2), kv(9, 2)];
  const expected = [
    { ...kv(104, 302), modRevision: 112 },
    { ...kv(109, 2), modRevision: 112 },
  ];

  const range = RangeResponse.encode({ header: shard, kvs, count: 2 });
  const [first, second] = expected;
  assert.deepEqual(plain(RangeResponse.decode(rewriteRange(range, field, offsets)).kvs), plain(expected));
  const part = RangePart.of(range, offsets, 0);
  const merge = new RangeMerge(false, 0);
  merge.add(part);
  merge.take(2);
  const merged = merge.finish(field, { allocate: (length) => Buffer.alloc(length), release() {} });
  assert.deepEqual(plain(RangeResponse.decode(merged).kvs), plain(expected));

  const put = PutResponse.encode({ header: shard, prevKv: kvs[0] });
  assert.deepEqual(plain(PutResponse.decode(rewritePut(put, field, offsets)).prevKv), plain(first));
  const deleted = DeleteRangeResponse.encode({ header: shard, deleted: 2, prevKvs: kvs });
  const rewritten = DeleteRangeResponse.decode(rewriteDeleteRange(deleted, field, offsets));
  assert.deepEqual(plain(rewritten.prevKvs), plain(expected));
  const txn = TxnResponse.encode({
    header: shard,
    succeeded: true,
    responses: [{ kind: "range", response: { kvs: [kvs[1]], count: 1 } }],
  });
  const [op] = TxnResponse.decode(rewriteTxn(txn, field, offsets, inner)).responses;
  assert.ok(op.kind === "range");
  assert.deepEqual(plain(op.response.kvs), plain([second]));

  // A version without a create revision cannot be mapped, so the response is refused.
  const odd = RangeResponse.encode({ kvs: [{ ...kv(0, 2) }] });
  assert.throws(() => rewriteRange(odd, field, offsets), /version comes before its create revision/);
});
