import { test } from "node:test";
import { MUTATIONS } from "./mutations.js";
import { simulate, testSeeds } from "./testSeeds.js";

/** Seeds in which a mutation must be noticed. */
const SEEDS = Number(process.env.SEEDS ?? 80);

// The file for npm run test:long goes on from there.
testSeeds({ first: 1, count: 40 });

for (const [name, mutation, where] of MUTATIONS) {
  test(`is caught: ${name}`, async () => {
    const mend = mutation();
    try {
      for (let seed = 1; seed <= SEEDS; seed++) {
        const failed = await simulate(seed, where).then(
          () => false,
          () => true,
        );
        if (failed) {
          if (process.env.BRAID_SIM_VERBOSE) console.log(`seed ${seed}: ${name}`);
          return;
        }
      }
    } finally {
      mend();
    }
    throw new Error(`${SEEDS} seeds did not notice`);
  });
}
