import type { Director, Scenario } from "../../reshard/sim/run.js";
import { run as runReshard } from "../../reshard/sim/testSeeds.js";
import { HubWatch } from "./hubWatch.js";

/** Runs a seed of test/reshard with the real hub. */
export function run(seed: number, over: Partial<Scenario> = {}, direct?: Director): Promise<void> {
  const watch: Scenario["watch"] = (proxy, record) => new HubWatch(proxy, record);
  return runReshard(seed, { watch, ...over }, [], direct);
}
