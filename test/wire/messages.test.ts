import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import { etcd } from "../../src/status/etcd.js";
import * as messages from "../../src/wire/messages.js";
import { damage, Random, randomMessage, seed, varint } from "./random.js";
import { decode, hex, lookup, Malformed, type MessageType, messageTypes, plain } from "./reference.js";

const codecs = messages as unknown as Record<MessageType, messages.Codec<object>>;

console.log(`# SEED=${seed}`);

for (const [index, name] of messageTypes.entries()) {
  const type = lookup(name);
  const codec = codecs[name];

  test(`${name}: canonical messages are decoded as by protobufjs, and encoded to the same bytes`, () => {
    const random = new Random(seed + index);
    for (let i = 0; i < 200; i++) {
      const bytes = randomMessage(random, type, "canonical");
      const message = codec.decode(bytes);
      assert.deepEqual(plain(message), decode(type, bytes));
      assert.equal(hex(codec.encode(message)), hex(bytes));
      const theirs = type.toObject(type.decode(bytes), { longs: String, enums: Number, bytes: Buffer });
      const again = type.encode(type.fromObject(theirs)).finish();
      const known = codec.encode(withoutUnknown(message));
      assert.equal(hex(known), hex(again), "protobufjs encodes the same fields to other bytes");
    }
  });

  test(`${name}: any valid form is decoded by the rules, and encoding keeps its meaning`, () => {
    const random = new Random(seed + 1000 + index);
    for (let i = 0; i < 300; i++) {
      const bytes = randomMessage(random, type, "loose");
      const message = codec.decode(bytes);
      const expected = decode(type, bytes);
      assert.deepEqual(plain(message), expected, hex(bytes));
      assert.deepEqual(plain(codec.decode(codec.encode(message))), expected, hex(bytes));
    }
  });

  test(`${name}: damaged bytes are INVALID_ARGUMENT exactly when they are malformed`, () => {
    const random = new Random(seed + 2000 + index);
    for (let i = 0; i < 600; i++) {
      const bytes = damage(random, randomMessage(random, type, random.pick(["canonical", "loose"])));
      const expected = attempt(() => decode(type, bytes));
      const actual = attempt(() => plain(codec.decode(bytes)));
      assert.deepEqual(actual, expected, hex(bytes));
    }
  });
}

test("random bytes throw nothing but INVALID_ARGUMENT", () => {
  const random = new Random(seed + 3000);
  for (let i = 0; i < 20000; i++) {
    const bytes = random.bytes(random.below(30));
    const name = random.pick(messageTypes);
    assert.deepEqual(
      attempt(() => plain(codecs[name].decode(bytes))),
      attempt(() => decode(lookup(name), bytes)),
      `${name} ${hex(bytes)}`,
    );
  }
});

test("int64 keeps its sign and its bounds, and is clamped when encoded", () => {
  const { CompactionRequest } = messages;
  for (const [revision, expected] of [
    [-1, -1],
    [-(2 ** 63), -(2 ** 63)],
    [2 ** 63, 2 ** 63],
    [1e300, 2 ** 63],
    [-1e300, -(2 ** 63)],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    [-Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER],
  ]) {
    assert.equal(CompactionRequest.decode(CompactionRequest.encode({ revision })).revision, expected);
  }
  assert.equal(hex(CompactionRequest.encode({ revision: 2 ** 63 })), "08ffffffffffffffff7f");
  assert.equal(hex(CompactionRequest.encode({ revision: -(2 ** 63) })), "0880808080808080808001");
});

test("ids are exact over all 64 bits", () => {
  for (const id of [1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 0x1234_5678_9abc_def1n]) {
    const { LeaseRevokeRequest } = messages;
    assert.equal(LeaseRevokeRequest.decode(LeaseRevokeRequest.encode({ id })).id, id);
  }
  for (const clusterId of [1n, 2n ** 64n - 1n, 14841639068965178418n]) {
    const { ResponseHeader } = messages;
    assert.equal(ResponseHeader.decode(ResponseHeader.encode({ clusterId })).clusterId, clusterId);
  }
});

test("a compare keeps which operand was set, even with its zero value", () => {
  const { Compare } = messages;
  for (const operand of [{ version: 0 }, { createRevision: 0 }, { modRevision: 0 }, { lease: 0n }]) {
    assert.deepEqual(
      { ...Compare.decode(Compare.encode({ key: Buffer.from("k"), ...operand })), key: "k" },
      {
        ...{ result: 0, target: 0, key: "k", rangeEnd: messages.EMPTY },
        ...operand,
      },
    );
  }
  assert.equal(Compare.decode(Compare.encode({ value: messages.EMPTY })).value?.length, 0);
  assert.equal(Compare.decode(Compare.encode({})).value, undefined);
});

test("any known field with a wrong wire type is refused", () => {
  const cases: [MessageType, number][] = [
    ["Compare", 64],
    ["WatchResponse", 11],
    ["RangeRequest", 1],
    ["RangeRequest", 13],
  ];
  for (const [name, number] of cases) {
    const fixed32 = Buffer.concat([varint(BigInt(number * 8 + 5)), Buffer.alloc(4)]);
    assert.throws(() => codecs[name].decode(fixed32), { code: Code.INVALID_ARGUMENT }, `${name} ${number}`);
  }
});

test("byte fields are views of the input and absent ones are EMPTY", () => {
  const bytes = messages.PutRequest.encode({ key: Buffer.from("key") });
  const request = messages.PutRequest.decode(bytes);
  assert.equal(request.key.buffer, bytes.buffer);
  assert.equal(request.value, messages.EMPTY);
});

test("encoded bytes do not change when more is encoded", () => {
  const random = new Random(seed + 4000);
  const kept: { bytes: Uint8Array; before: string }[] = [];
  for (let i = 0; i < 500; i++) {
    const size = random.pick([0, 3, 100, 5000, 17000, 100000]);
    const bytes = messages.PutRequest.encode({ key: random.bytes(8), value: Buffer.alloc(size, i) });
    kept.push({ bytes, before: hex(bytes) });
  }
  for (const { bytes, before } of kept) assert.equal(hex(bytes), before);
});

test("nesting of transactions is limited", () => {
  const { TxnRequest } = messages;
  const nested = (depth: number): Uint8Array => {
    let bytes = Buffer.alloc(0);
    for (let i = 1; i < depth; i++) {
      bytes = Buffer.concat([Buffer.from([0x22]), varint(BigInt(bytes.length)), bytes]);
      bytes = Buffer.concat([Buffer.from([0x12]), varint(BigInt(bytes.length)), bytes]);
    }
    return bytes;
  };
  assert.equal(hex(TxnRequest.encode(TxnRequest.decode(nested(256)))), hex(nested(256)));
  const { message } = etcd.tooManyOps();
  assert.throws(() => TxnRequest.decode(nested(257)), { code: Code.INVALID_ARGUMENT, message });
  assert.throws(() => TxnRequest.decode(nested(4000)), { code: Code.INVALID_ARGUMENT, message });
});

test("a message of many scattered unknown fields is decoded in linear time", () => {
  // 400,000 known fields alternate with as many unknown ones. Quadratic copying would take minutes.
  const bytes = Buffer.alloc(4 * 400_000);
  for (let i = 0; i < bytes.length; i += 4) bytes.set([0x18, 1, 0x78, 1], i);
  const started = process.cpuUsage();
  const message = messages.RangeRequest.decode(bytes);
  // CPU time, which does not depend on the load of the machine.
  assert.ok(process.cpuUsage(started).user < 5_000_000);
  assert.equal(message.unknown?.length, bytes.length / 2);
});

type Attempt = { result: unknown } | { refused: true };

/** Returns the result of `run`, or a marker when it throws INVALID_ARGUMENT. */
function attempt(run: () => unknown): Attempt {
  try {
    return { result: run() };
  } catch (error) {
    if (error instanceof Malformed) return { refused: true };
    if (error instanceof StatusError && error.code === Code.INVALID_ARGUMENT) return { refused: true };
    throw error;
  }
}

/** The message without unknown fields, at any depth. */
function withoutUnknown<T>(message: T): T {
  if (message instanceof Uint8Array || typeof message !== "object" || message === null) return message;
  if (Array.isArray(message)) return message.map(withoutUnknown) as T;
  const entries = Object.entries(message).filter(([name]) => name !== "unknown");
  return Object.fromEntries(entries.map(([name, value]) => [name, withoutUnknown(value)])) as T;
}
