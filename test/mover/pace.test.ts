import assert from "node:assert/strict";
import { test } from "node:test";
import { Pace } from "../../src/mover/pace.js";

/** Time that passes when the test says so. */
class Clock {
  private time = 1_000;
  private readonly timers = new Map<() => void, number>();

  now = () => this.time;

  timer = (ms: number, fn: () => void) => {
    this.timers.set(fn, this.time + ms);
    return () => this.timers.delete(fn);
  };

  get waiting(): number {
    return this.timers.size;
  }

  async pass(ms: number): Promise<void> {
    this.time += ms;
    for (const [fn, at] of this.timers) {
      if (at > this.time) continue;
      this.timers.delete(fn);
      fn();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Takes keys. The array gets an element when they may be copied. */
function take(pace: Pace, keys: number): true[] {
  const done: true[] = [];
  pace.take(keys).then(() => done.push(true));
  return done;
}

test("without a limit nobody waits", async () => {
  const clock = new Clock();
  const pace = new Pace(clock);
  await pace.take(1_000_000);
  await pace.take(1_000_000);
});

test("keys after the first ones wait as long as those before take", async () => {
  const clock = new Clock();
  const pace = new Pace(clock);
  pace.keysPerSecond = 10;
  await pace.take(5);
  const next = take(pace, 20);
  await clock.pass(499);
  assert.equal(next.length, 0);
  await clock.pass(1);
  assert.equal(next.length, 1);
  const last = take(pace, 1);
  await clock.pass(1_999);
  assert.equal(last.length, 0);
  await clock.pass(1);
  assert.equal(last.length, 1);
});

test("a late timer does not lower the rate", async () => {
  const clock = new Clock();
  const pace = new Pace(clock);
  pace.keysPerSecond = 100;
  await pace.take(1);
  const late = take(pace, 1);
  await clock.pass(18);
  assert.equal(late.length, 1);
  const next = take(pace, 1);
  await clock.pass(1);
  assert.equal(next.length, 0);
  await clock.pass(1);
  assert.equal(next.length, 1);
});

test("a new limit applies to those who wait", async () => {
  const clock = new Clock();
  const pace = new Pace(clock);
  pace.keysPerSecond = 1;
  await pace.take(100);
  const slow = take(pace, 100);
  await clock.pass(50_000);
  pace.keysPerSecond = 50;
  await clock.pass(999);
  assert.equal(slow.length, 0);
  await clock.pass(1);
  assert.equal(slow.length, 1);
  const lifted = take(pace, 1);
  pace.keysPerSecond = Number.POSITIVE_INFINITY;
  await clock.pass(0);
  assert.equal(lifted.length, 1);
  assert.equal(clock.waiting, 0);
});

test("release lets everyone go on", async () => {
  const clock = new Clock();
  const pace = new Pace(clock);
  pace.keysPerSecond = 1;
  await pace.take(100);
  const waiting = take(pace, 100);
  pace.release();
  await clock.pass(0);
  assert.equal(waiting.length, 1);
  await pace.take(100);
  assert.equal(clock.waiting, 0);
});
