import assert from "node:assert/strict";
import { test } from "node:test";
import { JsonSplitter } from "../../src/transport/gateway/splitter.js";
import { newSeed, random } from "../watch/random.js";

const VALUES = [
  "{}",
  '{"a":"}{"}',
  '{"a":"\\"}","b":[{"c":"\\\\"}]}',
  "null",
  "12",
  '"x"',
  "[]",
  '{"é":"😀"}',
];

/** Splits `text`, which arrives in chunks of up to `most` bytes. */
function split(text: string, most: number, next: (below: number) => number): string[] {
  const splitter = new JsonSplitter();
  const bytes = Buffer.from(text);
  const values: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + next(most);
    splitter.push(bytes.subarray(at, end));
    for (let value = splitter.next(); value !== undefined; value = splitter.next()) values.push(value);
    assert.equal(splitter.leftBytes, 0);
    at = end;
  }
  const rest = splitter.end();
  return rest === undefined ? values : [...values, rest];
}

test("a body is split into its values, in chunks of any size", () => {
  const next = random(newSeed("JSON splitter"));
  for (let round = 0; round < 500; round++) {
    const values = Array.from({ length: next(6) }, () => VALUES[next(VALUES.length)]);
    // Words need white space between them.
    const text = values
      .map((value) => `${["\n", " ", "\r\n\t"][next(3)]}${value}${["", " "][next(2)]}`)
      .join("");
    assert.deepEqual(split(text, 1 + next(20), next), values, JSON.stringify(text));
  }
});

test("objects need no white space between them, and an incomplete value is returned at the end", () => {
  const first = () => 0;
  assert.deepEqual(split('{"a":1}{"b":2}[3]"4"5{}', 1, first), [
    '{"a":1}',
    '{"b":2}',
    "[3]",
    '"4"',
    "5",
    "{}",
  ]);
  assert.deepEqual(split('{} {"a":"}', 1, first), ["{}", '{"a":"}']);
  assert.deepEqual(split(" \n", 1, first), []);
  assert.deepEqual(split("{]}", 1, first), ["{]", "}"]);
});
