import { test } from "node:test";
import { scenario } from "./scenario.js";
import { type Scenario, World } from "./world.js";

export async function simulate(seed: number, where?: Partial<Scenario>): Promise<void> {
  try {
    await new World(scenario(seed, where)).run();
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/**
 * Watches, leases and guards in virtual time. Proxies die, stop or pause, shards freeze, connections break, watches lag or
 * fall silent, leases end in all ways, shards are compacted and lose data. `SEED=n` repeats one run, `SEEDS=n` runs more.
 */
export function testSeeds(defaults: { readonly first: number; readonly count: number }): void {
  const first = Number(process.env.SEED ?? defaults.first);
  const count = process.env.SEED === undefined ? Number(process.env.SEEDS ?? defaults.count) : 1;

  test(`${count} seeds from ${first}: watches, leases and guards keep what they promise`, async () => {
    for (let seed = first; seed < first + count; seed++) await simulate(seed);
  });
}
