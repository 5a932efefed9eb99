import assert from "node:assert/strict";
import { test } from "node:test";
import { giveBack, lend, lendUntilSent, sent, share } from "../../src/turn/buffers.js";

const SIZE = 200_000;
const memory = (bytes: Uint8Array) => bytes.buffer;

test("a buffer that was given back is lent again, once", () => {
  const first = lend(SIZE);
  assert.equal(first.length, SIZE);
  assert.notEqual(memory(lend(SIZE)), memory(first), "while it is in use nobody else gets it");
  giveBack(first);
  giveBack(first);
  assert.equal(memory(lend(SIZE - 10_000)), memory(first));
  assert.notEqual(memory(lend(SIZE)), memory(first));
});

test("a buffer for a message is used again when all of its bytes were sent", () => {
  const message = lendUntilSent(SIZE);
  giveBack(message);
  for (let at = 0; at < SIZE; at += 16_384) {
    assert.notEqual(memory(lend(SIZE)), memory(message));
    sent(message.subarray(at, at + 16_384));
  }
  assert.equal(memory(lend(SIZE)), memory(message));
});

test("a buffer for a message that goes to several is used again when all of them were sent it", () => {
  const message = lendUntilSent(SIZE);
  share(message, 3);
  for (let receiver = 0; receiver < 3; receiver++) {
    for (let at = 0; at < SIZE; at += 16_384) {
      assert.notEqual(memory(lend(SIZE)), memory(message));
      sent(message.subarray(at, at + 16_384));
    }
  }
  assert.equal(memory(lend(SIZE)), memory(message));
});

test("small and very large buffers are nobody's, and so is what was never lent", () => {
  for (const size of [100, 5_000_000]) {
    const bytes = lend(size);
    giveBack(bytes);
    assert.notEqual(memory(lend(size)), memory(bytes));
  }
  const own = Buffer.alloc(SIZE);
  giveBack(own);
  sent(own);
  assert.notEqual(memory(lend(SIZE)), memory(own));
});

test("what is kept is bounded, and a small message does not take a large buffer", () => {
  const large = lend(1_000_000);
  giveBack(large);
  assert.notEqual(memory(lend(20_000)), memory(large));
  const many = Array.from({ length: 100 }, () => lend(1_000_000));
  for (const each of many) giveBack(each);
  const again = new Set(Array.from({ length: 100 }, () => memory(lend(1_000_000))));
  assert.ok(many.filter((each) => again.has(memory(each))).length <= 4);
});
