import assert from "node:assert/strict";
import { test } from "node:test";
import { Guarded, guard, guardedResponse, partLast } from "../../src/wire/guarded.js";
import {
  type Init,
  PutRequest,
  RequestOp,
  type ResponseOp,
  TxnRequest,
  TxnResponse,
} from "../../src/wire/messages.js";
import { damage, Random, seed } from "./random.js";
import { hex } from "./reference.js";

console.log(`# SEED=${seed}`);

const key = Buffer.from("key");
const compare = TxnRequest.encode({ compare: [{ key, target: 3, result: 2, value: Buffer.from("7") }] });
const failure = TxnRequest.encode({ failure: [{ kind: "range", request: { key } }] });
/** Lengths around those at which a length prefix grows. */
const LENGTHS = [0, 1, 100, 119, 120, 125, 126, 127, 128, 16_370, 16_380, 16_384, 70_000];

test("a guarded request is the transaction that the codec makes", () => {
  for (const length of LENGTHS) {
    const request = { key, value: Buffer.alloc(length, 1) };
    for (const more of [undefined, failure]) {
      const expected: Init<TxnRequest> = {
        ...TxnRequest.decode(compare),
        success: [{ kind: "put", request }],
        failure: more === undefined ? [] : TxnRequest.decode(more).failure,
      };
      const bytes = guard(Guarded.put, PutRequest.encode(request), compare, more);
      assert.equal(hex(bytes), hex(TxnRequest.encode(expected)));
    }
  }
  const kinds = Object.entries(Guarded).map(([kind, tag]) => [
    kind,
    RequestOp.decode(Buffer.of(tag, 0)).kind,
  ]);
  for (const [name, kind] of kinds) assert.equal(kind, name);
});

const header = { clusterId: 2n ** 63n + 5n, memberId: 7n, revision: 300, raftTerm: 2 };
const inner = { clusterId: 0n, memberId: 0n, revision: 300, raftTerm: 0 };

const put = (length: number): Init<ResponseOp> => ({
  kind: "put",
  response: {
    header: inner,
    prevKv: { key, value: Buffer.alloc(length), createRevision: 2, modRevision: 2, version: 1, lease: 0n },
  },
});

test("the response to a guarded request is taken out whole; a compare that did not hold leaves none", () => {
  for (const length of LENGTHS) {
    const bytes = TxnResponse.encode({ header, succeeded: true, responses: [put(length)] });
    const wrapped = TxnResponse.decode(bytes).responses[0]!;
    assert.ok(wrapped.kind === "put", "a put");
    const found = TxnResponse.encode({ responses: [{ kind: "put", response: wrapped.response }] });
    assert.ok(hex(found).endsWith(hex(guardedResponse(bytes)!)), "the bytes of the put's response");
    // In other forms: fields of later versions around it, and without a header.
    const unknown = Buffer.of(0x78, 1);
    for (const form of [
      Buffer.concat([bytes, unknown]),
      Buffer.concat([unknown, bytes]),
      TxnResponse.encode({ succeeded: true, responses: [put(length)] }),
    ]) {
      assert.equal(hex(guardedResponse(form)!), hex(guardedResponse(bytes)!));
    }
  }
  const bare = TxnResponse.encode({
    header,
    succeeded: true,
    responses: [{ kind: "put", response: { header: inner } }],
  });
  assert.equal(guardedResponse(bare)!.length, 0, "a header alone is left out");
  assert.equal(guardedResponse(TxnResponse.encode({ header, succeeded: false })), undefined);
  assert.equal(guardedResponse(TxnResponse.encode({ header, responses: [put(1)] })), undefined);
});

test("the last response of a failed transaction is parted from the others", () => {
  for (const length of LENGTHS) {
    const others = [put(length), put(3)];
    const last: Init<ResponseOp> = { kind: "range", response: { header: inner, count: 1 } };
    const bytes = TxnResponse.encode({ header, responses: [...others, last] });
    const parted = partLast(bytes)!;
    assert.equal(hex(parted.rest), hex(TxnResponse.encode({ header, responses: others })));
    assert.equal(hex(TxnResponse.encode({ responses: [last] })).slice(4), hex(parted.last));
    const unknown = Buffer.of(0x78, 1);
    assert.equal(
      hex(partLast(Buffer.concat([bytes, unknown]))!.rest),
      hex(Buffer.concat([parted.rest, unknown])),
    );
  }
  assert.equal(partLast(TxnResponse.encode({ header, succeeded: true, responses: [put(1)] })), undefined);
});

test("damaged responses are refused, and never read beyond their end", () => {
  const random = new Random(seed);
  const whole = Buffer.from(TxnResponse.encode({ header, succeeded: true, responses: [put(5)] }));
  for (let i = 0; i < 5_000; i++) {
    const bytes = damage(random, whole);
    for (const read of [guardedResponse, partLast]) {
      try {
        read(bytes);
      } catch (error) {
        assert.match((error as Error).message, /^malformed message: /);
      }
    }
  }
});
