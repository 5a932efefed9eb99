import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { RenewalEnds } from "../../src/lease/renewalEnds.js";
import type { Runtime } from "../../src/turn/runtime.js";

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("reads of the log's end before keep-alives", () => {
  let now: number;
  let timers: { readonly at: number; readonly fn: () => void }[];
  /** Reads that the host has not answered, in order. */
  let reads: { readonly answer: () => void; readonly fail: () => void }[];
  let isHostAway: boolean;
  let ends: RenewalEnds;
  /** Keep-alives that need not wait any more, in order. */
  let ready: string[];

  beforeEach(() => {
    [now, timers, reads, ready, isHostAway] = [0, [], [], [], false];
    const timeline = {
      sync: () =>
        new Promise<void>((resolve, reject) => {
          reads.push({ answer: resolve, fail: () => reject(new Error("away")) });
        }),
      get isHostAway() {
        return isHostAway;
      },
    };
    const runtime: Pick<Runtime, "now" | "timer"> = {
      now: () => now,
      timer: (ms, fn) => {
        timers.push({ at: now + ms, fn });
        return () => {};
      },
    };
    ends = new RenewalEnds(timeline, runtime as Runtime);
  });

  async function keepAlive(name: string): Promise<void> {
    void ends.read().then(() => ready.push(name));
    await settled();
  }

  async function advance(ms: number): Promise<void> {
    now += ms;
    for (const { fn } of timers.filter(({ at }) => at <= now)) fn();
    timers = timers.filter(({ at }) => at > now);
    await settled();
  }

  test("a keep-alive waits for a read that began after it arrived", async () => {
    await keepAlive("first");
    assert.equal(reads.length, 1, "it begins immediately");
    await keepAlive("second");
    reads[0].answer();
    await settled();
    assert.deepEqual(ready, ["first"]);
    await advance(20);
    reads[1].answer();
    await settled();
    assert.deepEqual(ready, ["first", "second"]);
  });

  test("a read serves all keep-alives of an interval", async () => {
    await keepAlive("first");
    for (let i = 0; i < 19; i++) {
      await keepAlive(`${i}`);
      await advance(1);
    }
    assert.equal(reads.length, 1);
    await advance(1);
    assert.equal(reads.length, 2);
    reads[1].answer();
    await settled();
    assert.equal(ready.length, 19);
  });

  test("a host that does not answer delays a keep-alive by a second, and a host that is away does not", async () => {
    await keepAlive("silent");
    await advance(999);
    assert.deepEqual(ready, []);
    await advance(1);
    assert.deepEqual(ready, ["silent"]);
    isHostAway = true;
    await keepAlive("away");
    assert.deepEqual(ready, ["silent", "away"]);
  });

  test("a keep-alive goes on if the read fails", async () => {
    await keepAlive("first");
    reads[0].fail();
    await settled();
    assert.deepEqual(ready, ["first"]);
  });
});
