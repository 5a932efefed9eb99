import assert from "node:assert/strict";
import { test } from "node:test";
import { lend, lendUntilSent, markSent, release, share } from "../../src/turn/buffers.js";

const SIZE = 200_000;
const memory = (bytes: Uint8Array) => bytes.buffer;

test("a released buffer is lent again, once", () => {
  const first = lend(SIZE);
  assert.equal(first.length, SIZE);
  assert.notEqual(memory(lend(SIZE)), memory(first), "not while it is in use");
  release(first);
  release(first);
  assert.equal(memory(lend(SIZE - 10_000)), memory(first));
  assert.notEqual(memory(lend(SIZE)), memory(first));
});

test("a buffer for a message is reused once all of its bytes were sent", () => {
  const message = lendUntilSent(SIZE);
  release(message);
  for (let at = 0; at < SIZE; at += 16_384) {
    assert.notEqual(memory(lend(SIZE)), memory(message));
    markSent(message.subarray(at, at + 16_384));
  }
  assert.equal(memory(lend(SIZE)), memory(message));
});

test("a buffer for a message to several receivers is reused once it was sent to all of them", () => {
  const message = lendUntilSent(SIZE);
  share(message, 3);
  for (let receiver = 0; receiver < 3; receiver++) {
    for (let at = 0; at < SIZE; at += 16_384) {
      assert.notEqual(memory(lend(SIZE)), memory(message));
      markSent(message.subarray(at, at + 16_384));
    }
  }
  assert.equal(memory(lend(SIZE)), memory(message));
});

test("the pool takes no small or very large buffers, nor any that it did not lend", () => {
  for (const size of [100, 5_000_000]) {
    const bytes = lend(size);
    release(bytes);
    assert.notEqual(memory(lend(size)), memory(bytes));
  }
  const own = Buffer.alloc(SIZE);
  release(own);
  markSent(own);
  assert.notEqual(memory(lend(SIZE)), memory(own));
});

test("the pool is bounded, and a small message does not take a large buffer", () => {
  const large = lend(1_000_000);
  release(large);
  assert.notEqual(memory(lend(20_000)), memory(large));
  const many = Array.from({ length: 100 }, () => lend(1_000_000));
  for (const each of many) release(each);
  const again = new Set(Array.from({ length: 100 }, () => memory(lend(1_000_000))));
  assert.ok(many.filter((each) => again.has(memory(each))).length <= 4);
});
