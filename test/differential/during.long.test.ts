import assert from "node:assert/strict";
import { test } from "node:test";
import { createRouter } from "../../src/routing/create.js";
import { DEFAULT_RULES } from "../../src/routing/map.js";
import { Random } from "../kv/model.js";
import { Generator } from "./generate.js";
import { MovingPair } from "./movingPair.js";
import { show } from "./ops.js";
import { Bench } from "./sequence.js";

/*
 * As plans.long.test.ts, but keys move during the operations. The variables are those of differential.test.ts.
 */

const operations = Number(process.env.OPS ?? 400);
const PLANS = 4;
/** The most that a map may have. Each group of the operations is on another one. */
const GROUP_SHARDS = 255;
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

test(`SEED=${seed}: at least ${operations} operations as on one etcd during plans`, async (t) => {
  const shards = Array.from({ length: GROUP_SHARDS }, (_, i) => ({ name: `group${i}`, weight: 1 }));
  const groups = await createRouter({ shards, rules: DEFAULT_RULES });
  const bench = await Bench.start({ seed, dedicatedHost: true, proxies: 2, plans: true, groups: [] });
  const planner = bench.planner!;
  const pair = new MovingPair(bench.plain.endpoint, bench.store, groups);
  let isOver = false;
  let operator: Promise<void> | undefined;
  let step = 0;
  try {
    await pair.recordHistory();
    const generator = new Generator(new Random(seed), groups);
    operator = planner.run(() => isOver);
    for (; step < operations || planner.ended + planner.turnedBack < PLANS; step++) {
      const op = generator.next(pair);
      await pair.run(op).catch((error) => {
        throw new Error(`step ${step}: ${show(op)}\n${error.message}\n${planner.done.slice(-10).join("\n")}`);
      });
    }
    isOver = true;
    await operator;
    await planner.settle();
    assert.deepEqual(planner.faults, []);
    await pair.compareHistories();
    const { ended, turnedBack } = planner;
    t.diagnostic(JSON.stringify({ step, ended, turnedBack, ...Object.fromEntries([...pair.counts].sort()) }));
  } finally {
    isOver = true;
    await operator;
    pair.close();
    await bench.remove();
  }
});
