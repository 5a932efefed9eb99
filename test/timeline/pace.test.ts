import assert from "node:assert/strict";
import { test } from "node:test";
import { Pace } from "../../src/timeline/pace.js";

/** Lets so many proxies append for some seconds, each as fast as its own pace allows, but at most `each` times a second. */
function run(proxies: number, each: number, seconds: number): { perSecond: number; pause: number } {
  const paces = Array.from({ length: proxies }, () => new Pace());
  const next = paces.map((_, n) => (n / proxies) * (1_000 / each));
  let entries = 0;
  let pauses = 0;
  for (let now = 0; now < seconds * 1_000; now++) {
    for (let n = 0; n < proxies; n++) {
      if (now < next[n]) continue;
      for (const pace of paces) pace.note(`p${n}`, now);
      const pause = paces[n].pause(now, ((now * 7 + n * 13) % 16) / 15);
      next[n] = now + Math.max(1_000 / each, pause);
      // At the beginning, nobody knows how many there are.
      if (now < 3_000) continue;
      entries++;
      pauses += pause;
    }
  }
  return { perSecond: entries / (seconds - 3), pause: pauses / entries };
}

test("few proxies do not wait, however often they append", () => {
  for (const [proxies, each] of [
    [1, 1_000],
    [4, 1_000],
    [5, 1_000],
  ])
    assert.equal(run(proxies, each, 6).pause, 0);
});

test("many proxies that rarely append do not wait", () => {
  assert.equal(run(64, 5, 6).pause, 0);
});

test("many proxies that append often wait, so that the host delivers what it can", () => {
  const { perSecond } = run(64, 100, 10);
  // Without pauses: 6,400.
  assert.ok(perSecond * 64 > 15_000 && perSecond * 64 < 60_000, `${perSecond} entries per second`);
});

test("when the others are done, a proxy does not wait any more", () => {
  const pace = new Pace();
  for (let now = 0; now < 2_000; now++) for (let n = 0; n < 64; n++) pace.note(`p${n}`, now);
  assert.ok(pace.pause(2_000, 0.5) > 5);
  assert.equal(pace.pause(3_000, 0.5), 0);
});
