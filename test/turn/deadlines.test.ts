import assert from "node:assert/strict";
import { test } from "node:test";
import { Deadlines, type Timed } from "../../src/turn/deadlines.js";

class Call implements Timed<Call> {
  before: Call | undefined;
  after: Call | undefined;

  constructor(
    readonly name: string,
    readonly deadline: number,
    private readonly over: (call: Call) => void = () => {},
  ) {}

  expire(): void {
    this.over(this);
  }
}

const names = (calls: Deadlines<Call>) => [...calls].map(({ name }) => name);

test("calls are listed oldest first, and can be removed from anywhere", () => {
  const calls = new Deadlines<Call>();
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => new Call(name, Number.POSITIVE_INFINITY));
  for (const call of [a, b, c, d]) calls.add(call);
  calls.delete(b);
  assert.deepEqual(names(calls), ["a", "c", "d"]);
  calls.delete(a);
  calls.delete(d);
  assert.deepEqual(names(calls), ["c"]);
  calls.add(a);
  assert.deepEqual(names(calls), ["c", "a"]);
  calls.delete(c);
  calls.delete(a);
  assert.deepEqual(names(calls), []);
});

test("each call expires once, not before its deadline and in any order; a removed call does not", async () => {
  const calls = new Deadlines<Call>();
  const expired: string[] = [];
  const alive = setInterval(() => {}, 1_000);
  const begin = Date.now();
  await new Promise<void>((resolve) => {
    const over = (call: Call) => {
      assert.ok(Date.now() >= call.deadline, call.name);
      calls.delete(call);
      expired.push(call.name);
      // An expired call may start another one.
      if (call.name === "second") calls.add(new Call("fourth", begin + 120, over));
      if (call.name === "fourth") resolve();
    };
    const left = new Call("left", begin + 60, over);
    calls.add(new Call("third", begin + 90, over));
    calls.add(left);
    calls.add(new Call("never", Number.POSITIVE_INFINITY, over));
    calls.add(new Call("first", begin, over));
    calls.add(new Call("second", begin + 30, over));
    calls.delete(left);
  });
  clearInterval(alive);
  assert.deepEqual(expired, ["first", "second", "third", "fourth"]);
  assert.deepEqual(names(calls), ["never"]);
});
