import { Random } from "../timeline/sim/scheduler.js";
import type { Scenario } from "./world.js";

/** Generates the scenario of a seed. `where` overrides parts of it. */
export function scenario(seed: number, where: Partial<Scenario> = {}): Scenario {
  const random = new Random(seed ^ 0x7e57);
  const shards = 1 + random.below(3);
  const isCalm = random.chance(0.3);
  const pick = (values: readonly number[]) => (isCalm ? 0 : random.pick(values));
  const drawn: Scenario = {
    seed,
    shards,
    proxies: 1 + random.below(3),
    host: random.below(shards + 1) - 1,
    duration: 4_000 + random.below(8_000),
    faults: {
      cut: pick([0, 0, 0.005, 0.02]),
      lag: random.pick([0, 0, 40, 400]),
      mute: pick([0, 0, 0.005]),
      slow: random.pick([0, 0, 0.1]),
    },
    hostFaults: {
      loss: pick([0, 0, 0.02]),
      cut: pick([0, 0.02, 0.1]),
      lag: random.pick([0, 0, 40, 200]),
    },
    crash: pick([0, 0.005, 0.03]),
    pause: pick([0, 0, 0.02]),
    freeze: pick([0, 0, 0.02]),
    strike: random.pick([0, 0.02]),
    compact: random.pick([0, 0.02, 0.1]),
    watchers: 2 + random.below(8),
    holders: 1 + random.below(5),
    dropsTombstones: random.chance(0.5),
    loss: random.pick(["none", "restored", "exchanged"] as const),
  };
  const { faults, hostFaults, ...rest } = { ...drawn, ...where };
  // Copies, because a run sets them to 0 when faults must end.
  return { ...rest, faults: { ...faults }, hostFaults: { ...hostFaults } };
}
