import { test } from "node:test";
import { type Director, type Scenario, scenario, simulate } from "./run.js";

export interface Seeds {
  readonly first: number;
  readonly count: number;
}

/** Runs one seed. */
export type RunSeed = (seed: number) => Promise<void>;

/** Runs a seed, with `over` for some settings of its scenario, and without the rules in `broken`. An error names the seed. */
export async function run(
  seed: number,
  over: Partial<Scenario> = {},
  broken: readonly string[] = [],
  direct?: Director,
): Promise<void> {
  try {
    await simulate({ ...scenario(seed), ...over }, new Set(broken), direct);
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/** Tests seeds. `BRAID_SIM_SEEDS=n` runs n of them, `BRAID_SIM_SEED=n` replays seed n. */
export function testSeeds(what: string, { first, count }: Seeds, runSeed: RunSeed): void {
  const one = process.env.BRAID_SIM_SEED;
  const from = Number(one ?? first);
  const seeds = one === undefined ? Number(process.env.BRAID_SIM_SEEDS ?? count) : 1;
  test(`${seeds} seeds from ${from}: ${what}`, async () => {
    for (let seed = from; seed < from + seeds; seed++) await runSeed(seed);
  });
}
