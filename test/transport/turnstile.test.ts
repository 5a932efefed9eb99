import assert from "node:assert/strict";
import { test } from "node:test";
import { type Lane, Turnstile, type Waiting } from "../../src/transport/turnstile.js";
import { until } from "../support/until.js";

/** A call that ends when it is told to. */
class TestCall implements Waiting {
  isOver = false;
  begun = false;

  constructor(
    readonly lane: Lane,
    /** Ends as soon as it begins. */
    private readonly isShort = false,
  ) {
    lane.enter(this);
  }

  begin(): void {
    this.begun = true;
    if (this.isShort) this.end();
  }

  end(): void {
    this.isOver = true;
    if (this.begun) this.lane.leave();
  }
}

const calls = (lane: Lane, count: number, isShort = false) =>
  Array.from({ length: count }, () => new TestCall(lane, isShort));
const begun = (all: readonly TestCall[]) => all.filter((call) => call.begun).length;

test("a connection alone is not held up", async () => {
  const turnstile = new Turnstile();
  const lane = turnstile.lane();
  new TestCall(lane).end();
  const since = performance.now();
  // It is not alone until a second after the first call of a connection.
  await until("the first second is over", () => performance.now() - since > 1_100);
  const all = calls(lane, 1_000);
  assert.equal(begun(all), 1_000);
  for (const call of all) call.end();
});

test("a flood waits, the calls of others do not", () => {
  const turnstile = new Turnstile();
  const [flooding, other] = [turnstile.lane(), turnstile.lane()];
  const flood = calls(flooding, 500);
  assert.equal(begun(flood), 64);
  for (let i = 0; i < 50; i++) {
    const [call] = calls(other, 1);
    assert.ok(call!.begun);
    call!.end();
  }
  for (const call of flood.slice(0, 4)) call.end();
  assert.equal(begun(flood), 68, "one begins when another ends");
  for (const call of flood.slice(68).toReversed()) call.end();
  for (const call of flood.slice(4, 68)) call.end();
  assert.equal(begun(flood), 68, "calls that end while they wait never begin");
  assert.equal(begun(calls(flooding, 80)), 64);
});

test("calls that end at once do not nest", () => {
  const turnstile = new Turnstile();
  const [lane, other] = [turnstile.lane(), turnstile.lane()];
  new TestCall(other);
  const running = calls(lane, 64);
  const many = calls(lane, 100_000, true);
  assert.equal(begun(many), 0);
  for (const call of running) call.end();
  assert.equal(begun(many), 100_000);
});

test("calls do not wait for longer than a moment for calls that do not end", async () => {
  const turnstile = new Turnstile();
  const [lane, other] = [turnstile.lane(), turnstile.lane()];
  new TestCall(other);
  const all = calls(lane, 100);
  assert.ok(begun(all) < 100);
  await until("all have begun", () => begun(all) === 100);
});
