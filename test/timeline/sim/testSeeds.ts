import assert from "node:assert/strict";
import { test } from "node:test";
import { simulate } from "./simulate.js";

/**
 * Tests the protocol in virtual time: proxies that crash and restart, lost messages, broken watches, a host that compacts its
 * history, writers that die between write and seal. `SEED=n` replays one run, `SEEDS=n` runs more.
 */
export function testSeeds(defaults: { readonly first: number; readonly count: number }): void {
  const first = Number(process.env.SEED ?? defaults.first);
  const count = process.env.SEED === undefined ? Number(process.env.SEEDS ?? defaults.count) : 1;
  let carried = 0;

  test(`${count} seeds from ${first}: no wrong, lost, repeated or reordered revision`, async () => {
    for (let seed = first; seed < first + count; seed++) carried += await simulate(seed);
  });

  test("puts carry entries in these runs", { skip: count === 1 }, () => {
    assert.ok(carried > count, `${carried} in ${count} runs`);
  });
}
