import { test } from "node:test";
import { MUTATIONS } from "./mutations.js";
import { scenario } from "./scenario.js";
import { type Scenario, World } from "./world.js";

/**
 * Watches, leases and guards in virtual time. Proxies die, stop or pause, shards freeze, connections break, watches lag or
 * fall silent, leases end in all ways, shards are compacted and lose data. `SEED=n` repeats one run, `SEEDS=n` runs more.
 */
const SEEDS = Number(process.env.SEEDS ?? 80);
const FIRST = Number(process.env.SEED ?? 1);
const COUNT = process.env.SEED === undefined ? SEEDS : 1;

async function simulate(seed: number, where?: Partial<Scenario>): Promise<void> {
  try {
    await new World(scenario(seed, where)).run();
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

test(`${COUNT} seeds from ${FIRST}: watches, leases and guards keep what they promise`, async () => {
  for (let seed = FIRST; seed < FIRST + COUNT; seed++) await simulate(seed);
});

for (const [name, mutation, where] of MUTATIONS) {
  test(`is caught: ${name}`, async () => {
    const mend = mutation();
    try {
      for (let seed = 1; seed <= SEEDS; seed++) {
        const failed = await simulate(seed, where).then(
          () => false,
          () => true,
        );
        if (failed) return;
      }
    } finally {
      mend();
    }
    throw new Error(`${SEEDS} seeds did not notice`);
  });
}
