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

test("a connection alone is not held up, nor one that follows another", async () => {
  const turnstile = new Turnstile();
  const [lane, next] = [turnstile.lane(), turnstile.lane()];
  const first = calls(lane, 1_000);
  assert.equal(begun(first), 1_000);
  for (const call of first) call.end();
  const since = performance.now();
  await until("the other one's calls are a second ago", () => performance.now() - since > 1_100);
  const all = calls(next, 1_000);
  assert.equal(begun(all), 1_000);
  for (const call of all) call.end();
});

test("a flood waits, the calls of others do not", () => {
  const turnstile = new Turnstile();
  const [flooding, other] = [turnstile.lane(), turnstile.lane()];
  new TestCall(other).end();
  const flood = calls(flooding, 500);
  assert.equal(begun(flood), 16);
  for (let i = 0; i < 50; i++) {
    const [call] = calls(other, 1);
    assert.ok(call!.begun);
    call!.end();
  }
  for (const call of flood.slice(0, 4)) call.end();
  assert.equal(begun(flood), 20, "one begins when another ends");
  for (const call of flood.slice(20).toReversed()) call.end();
  for (const call of flood.slice(4, 20)) call.end();
  assert.equal(begun(flood), 20, "calls that end while they wait never begin");
  assert.equal(begun(calls(flooding, 80)), 16);
});

test("connections that all have many calls may have more in progress", async () => {
  const turnstile = new Turnstile();
  const lanes = Array.from({ length: 4 }, () => turnstile.lane());
  const first = lanes.flatMap((lane) => calls(lane, 64));
  const since = performance.now();
  // A connection counts as one with few calls until a second after it had few.
  await until("the first second is over", () => performance.now() - since > 1_100);
  const again = lanes.map((lane) => new TestCall(lane));
  for (const call of [...first, ...again]) call.end();
  for (const lane of lanes) assert.equal(begun(calls(lane, 100)), 64);
  assert.equal(
    begun(calls(turnstile.lane(), 100)),
    64,
    "the first calls of a connection do not hold up its others",
  );
  new TestCall(turnstile.lane());
  assert.equal(begun(calls(turnstile.lane(), 100)), 16);
});

test("one long call of a connection goes on at a time, and the next one when it is over", () => {
  const turnstile = new Turnstile();
  const [lane, other] = [turnstile.lane(), turnstile.lane()];
  new TestCall(lane).end();
  new TestCall(other).end();
  const turns: string[] = [];
  const long = (name: string) => ({ isOver: false, begin: () => turns.push(name) });
  const gone = long("gone");
  for (const call of [long("first"), gone, long("second"), long("third")]) lane.long.enter(call);
  other.long.enter(long("other"));
  assert.deepEqual(turns, ["first", "other"]);
  gone.isOver = true;
  lane.long.leave();
  assert.deepEqual(turns, ["first", "other", "second"], "one that is over takes no turn");
  lane.long.leave();
  assert.deepEqual(turns, ["first", "other", "second", "third"]);
});

test("calls that end at once do not nest", () => {
  const turnstile = new Turnstile();
  const [lane, other] = [turnstile.lane(), turnstile.lane()];
  new TestCall(other);
  const running = calls(lane, 16);
  const many = calls(lane, 100_000, true);
  assert.equal(begun(many), 0);
  for (const call of running) call.end();
  assert.equal(begun(many), 100_000);
});

test("calls do not wait for long for calls that do not end, and then begin a few at a time", async () => {
  const turnstile = new Turnstile();
  const [lane, other] = [turnstile.lane(), turnstile.lane()];
  new TestCall(other);
  const all = calls(lane, 100);
  let [most, last] = [begun(all), begun(all)];
  assert.ok(most < 100);
  for (const call of all.slice(most)) {
    call.begin = () => {
      call.begun = true;
      // Those that begin with it have begun by then.
      queueMicrotask(() => {
        most = Math.max(most, begun(all) - last);
        last = begun(all);
      });
    };
  }
  await until("all have begun", () => begun(all) === 100);
  assert.equal(most, 16);
});
