import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../../src/status/error.js";
import type { Init } from "../../src/wire/codec.js";
import { field } from "../../src/wire/field.js";
import * as messages from "../../src/wire/messages.js";
import { type MessageOf, message } from "../../src/wire/tableCodec.js";
import { messageTypes, plain } from "./reference.js";

const Part = message({ name: field.text(1), size: field.int64(2) });

/** A message with every kind of field, and a gap in its field numbers. */
const Whole = message({
  bool: field.bool(1),
  enum: field.enum(2),
  uint32: field.uint32(3),
  int64: field.int64(4),
  uint64: field.uint64(5),
  bigInt64: field.bigInt64(6),
  bigUint64: field.bigUint64(7),
  data: field.data(9),
  text: field.text(10),
  part: field.message(11, Part),
  datas: field.datas(12),
  texts: field.texts(13),
  parts: field.messages(20, Part),
});
type Whole = MessageOf<typeof Whole>;

/** The type that `Whole` should have. */
interface Expected {
  bool: boolean;
  enum: number;
  uint32: number;
  int64: number;
  uint64: number;
  bigInt64: bigint;
  bigUint64: bigint;
  data: Uint8Array;
  text: string;
  part?: { name: string; size: number; unknown?: Uint8Array };
  datas: Uint8Array[];
  texts: string[];
  parts: { name: string; size: number; unknown?: Uint8Array }[];
  unknown?: Uint8Array;
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Checked by the compiler. */
const inferred: Same<Flat<Whole>, Flat<Expected>> = true;
type Flat<T> = { [K in keyof T]: T[K] };

const ZERO = {
  bool: false,
  enum: 0,
  uint32: 0,
  int64: 0,
  uint64: 0,
  bigInt64: 0n,
  bigUint64: 0n,
  data: messages.EMPTY,
  text: "",
  datas: [],
  texts: [],
  parts: [],
};

test("a table defines the type of its messages", () => {
  assert.ok(inferred);
});

test("absent fields have zero values, absent messages have no property, and zero values are not encoded", () => {
  const whole: Whole = Whole.decode(new Uint8Array(0));
  assert.deepEqual(whole, ZERO);
  assert.equal(Whole.encode(whole).length, 0);
});

test("decoded messages do not share lists", () => {
  Whole.decode(new Uint8Array(0)).texts.push("mine");
  assert.deepEqual(Whole.decode(new Uint8Array(0)).texts, []);
});

test("every kind of field round-trips, in the order of field numbers", () => {
  const whole: Init<Whole> = {
    bool: true,
    enum: -1,
    uint32: 2 ** 32 - 1,
    int64: -(2 ** 63),
    uint64: 2 ** 63,
    bigInt64: -1n,
    bigUint64: 2n ** 64n - 1n,
    data: Buffer.from("d"),
    text: "é",
    part: { size: 7 },
    datas: [messages.EMPTY, Buffer.from("d")],
    texts: ["", "t"],
    parts: [{}, { name: "p" }],
  };
  const bytes = Whole.encode(whole);
  assert.deepEqual(
    plain(Whole.decode(bytes)),
    plain({
      ...whole,
      part: { name: "", size: 7 },
      parts: [
        { name: "", size: 0 },
        { name: "p", size: 0 },
      ],
    }),
  );
  const numbers = [...Whole.encode({ parts: [{}], text: "t", bool: true })].filter((_, i) =>
    [0, 2, 5].includes(i),
  );
  assert.deepEqual(numbers, [0x08, 0x52, 0xa2]);
});

test("the last scalar wins, and occurrences of a message are merged", () => {
  const first = Whole.encode({ text: "first", part: { name: "n", size: 1 }, texts: ["1"] });
  const second = Whole.encode({ text: "second", part: { size: 2 }, texts: ["2"] });
  const { text, part, texts } = Whole.decode(Buffer.concat([first, second]));
  assert.deepEqual(
    { text, part, texts },
    { text: "second", part: { name: "n", size: 2 }, texts: ["1", "2"] },
  );
});

test("a field number in a gap is kept as unknown, and a known one with a wrong wire type is refused", () => {
  for (const number of [8, 14, 19, 21]) {
    const bytes = Part.encode({ unknown: fixed32(number) });
    assert.deepEqual(Whole.encode(Whole.decode(bytes)), bytes);
  }
  for (const number of [1, 7, 9, 13, 20]) {
    assert.throws(() => Whole.decode(fixed32(number)), { code: Code.INVALID_ARGUMENT });
  }
});

test("every message that the proxy decodes is compared with protobufjs", () => {
  const codecs = Object.entries(messages).filter(([, value]) => "decode" in value);
  assert.deepEqual(codecs.map(([name]) => name).sort(), [...messageTypes].sort());
});

/** A field that no message here has with this wire type. */
function fixed32(number: number): Buffer {
  const tag = number * 8 + 5;
  return Buffer.from([...(tag < 128 ? [tag] : [(tag & 127) | 128, tag >> 7]), 1, 2, 3, 4]);
}
