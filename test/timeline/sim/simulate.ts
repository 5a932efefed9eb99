import { Random } from "./scheduler.js";
import { type Mutation, type Scenario, World } from "./world.js";

function scenario(seed: number): Scenario {
  const random = new Random(seed ^ 0x5eed);
  const shards = 1 + random.below(3);
  const host = random.below(shards + 1) - 1;
  return {
    seed,
    shards,
    proxies: 1 + random.below(3),
    host,
    operations: 40 + random.below(60),
    faults: {
      loss: random.pick([0, 0, 0.02, 0.1]),
      late: 0.3,
      cut: random.pick([0, 0.02, 0.2]),
      lag: random.pick([0, 0, 40, 400]),
    },
    crash: random.pick([0, 0.02, 0.1]),
    changes: random.chance(0.5),
    moves: random.chance(0.4),
    sole: shards === 1 && host === 0 && random.chance(0.75),
    paced: random.chance(0.4),
    placed: random.chance(0.6),
  };
}

/** Runs one world. Resolves to the number of puts that have carried their entries. Rejects if the protocol was broken. */
export async function simulate(seed: number, mutation: Mutation = {}): Promise<number> {
  try {
    const world = new World(scenario(seed), mutation);
    await world.run();
    return world.carried;
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
