import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { CallState } from "../../src/rpc/callState.js";
import { type StreamCarrier, StreamState } from "../../src/rpc/streamState.js";
import { Code, StatusError } from "../../src/status/error.js";
import { Deadlines } from "../../src/turn/deadlines.js";

/* What every transport relies on, and handlers through it. */

const NEVER = Number.POSITIVE_INFINITY;
const refusal = new StatusError(Code.UNAVAILABLE, "no");

/** Everything that happens, in order. */
let events: string[];
beforeEach(() => {
  events = [];
});

class TestCarrier implements StreamCarrier {
  readonly metadata = { get: (name: string) => `${name}'s value` };
  queuedBytes = 0;
  isOverfull = false;
  ended(error: StatusError | undefined): void {
    events.push(`ended ${error?.message ?? "well"}`);
  }
  fail(error: StatusError): void {
    events.push(`fail ${error.message}`);
  }
  complete(): void {
    events.push("complete");
  }
  write(parts: readonly Uint8Array[]): void {
    for (const part of parts) this.queuedBytes += part.length;
  }
  pause(): void {
    events.push("pause");
  }
  resume(): void {
    events.push("resume");
  }
}

const listening = (call: CallState, ...names: string[]) =>
  names.map((name) => call.onCancel(() => void events.push(name)));

/** All that may end a call, which nothing is to come of once it is over. */
function endAgain(call: CallState): void {
  assert.equal(call.finish(), false);
  call.fail(refusal);
  call.cancel();
  call.abort(refusal);
  call.expire();
  if (call instanceof StreamState) call.end();
}

test("a call that its handler has finished is over, and not cancelled", () => {
  const call = new CallState("/a/B", NEVER, new TestCarrier());
  listening(call, "cancelled");
  assert.equal(call.over, false);
  assert.equal(call.finish(), true);
  endAgain(call);
  listening(call, "cancelled later");
  assert.deepEqual([call.over, call.cancelled, events], [true, false, ["ended well"]]);
});

test("a call that fails sends its error once", () => {
  const call = new CallState("/a/B", NEVER, new TestCarrier());
  listening(call, "cancelled");
  call.fail(refusal);
  endAgain(call);
  assert.deepEqual([call.cancelled, events], [false, ["ended no", "fail no"]]);
});

test("when the client has gone, the listeners that are left are called once, and late ones at once", () => {
  const call = new CallState("/a/B", NEVER, new TestCarrier());
  const [removeFirst, removeSecond] = listening(call, "first", "second", "third", "fourth");
  removeFirst();
  removeSecond();
  listening(call, "fifth");
  call.cancel();
  endAgain(call);
  listening(call, "late");
  assert.equal(call.cancelled, true);
  assert.equal(events.shift(), "ended context canceled");
  assert.deepEqual(events.sort(), ["fifth", "fourth", "late", "third"]);
});

test("a listener finds its call over, and can not answer it any more", () => {
  const call = new CallState("/a/B", NEVER, new TestCarrier());
  call.onCancel(() => {
    assert.deepEqual([call.over, call.cancelled], [true, true]);
    endAgain(call);
  });
  call.abort(refusal);
  assert.deepEqual(events, ["ended no", "fail no"]);
});

test("a call ends at its deadline, unless it is over before", () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000 });
  try {
    const deadlines = new Deadlines<CallState>();
    const open = (deadline: number) => new CallState("/a/B", deadline, new TestCarrier(), deadlines);
    const calls = { late: open(1_200), early: open(1_100), done: open(1_050), never: open(NEVER) };
    listening(calls.early, "early");
    listening(calls.late, "late");
    calls.done.finish();
    assert.deepEqual([...deadlines], [calls.late, calls.early]);
    mock.timers.tick(99);
    assert.deepEqual(events, ["ended well"]);
    const passed = ["ended context deadline exceeded", "fail context deadline exceeded"];
    mock.timers.tick(1);
    assert.deepEqual(events.splice(0), ["ended well", ...passed, "early"]);
    mock.timers.tick(100);
    assert.deepEqual(events, [...passed, "late"]);
    assert.deepEqual([[...deadlines], calls.never.over], [[], false]);
  } finally {
    mock.timers.reset();
  }
});

test("a stream has drained when half of the high-water mark is left, and tells once", () => {
  const carrier = new TestCarrier();
  const stream = new StreamState("/a/B", NEVER, carrier, 100);
  stream.onDrain(() => void events.push("drained"));
  const take = (bytes: number) => {
    carrier.queuedBytes -= bytes;
    stream.taken();
  };
  assert.equal(stream.send([Buffer.alloc(60), Buffer.alloc(40)]), true);
  take(60);
  assert.deepEqual(events, [], "nobody was to wait");
  assert.equal(stream.send([Buffer.alloc(61)]), false);
  assert.equal(stream.queuedBytes, 101);
  take(50);
  assert.deepEqual(events, []);
  take(1);
  take(1);
  assert.deepEqual(events, ["drained"]);
});

test("a stream waits while too much is unread, but not for nothing", () => {
  const carrier = new TestCarrier();
  const stream = new StreamState("/a/B", NEVER, carrier, 100);
  carrier.isOverfull = true;
  assert.equal(stream.send([Buffer.alloc(0)]), true, "nothing is queued that could drain");
  assert.equal(stream.send([Buffer.alloc(1)]), false);
});

test("nothing reaches a stream that is over, and nothing leaves it", () => {
  const carrier = new TestCarrier();
  const stream = new StreamState("/a/B", NEVER, carrier, 100);
  stream.onMessage((message) => void events.push(String(message)));
  stream.onEnd(() => void events.push("end"));
  stream.onDrain(() => void events.push("drained"));
  stream.deliver(Buffer.from("message"));
  stream.deliverEnd();
  assert.equal(stream.send([Buffer.alloc(101)]), false);
  stream.end();
  endAgain(stream);
  assert.equal(stream.send([Buffer.alloc(101)]), true);
  assert.deepEqual([stream.queuedBytes, carrier.queuedBytes], [0, 101]);
  carrier.queuedBytes = 0;
  stream.taken();
  stream.deliver(Buffer.from("too late"));
  stream.deliverEnd();
  assert.deepEqual(events, ["message", "end", "ended well", "complete"]);
});
