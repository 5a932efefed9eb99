import {
  type Contradiction,
  ContradictionError,
  describeContradiction,
} from "../app/store/contradictions.js";
import { placesIn } from "../config/load.js";
import type { Config } from "../config/types.js";
import { withDetail } from "../status/error.js";

/** One line for each contradiction, with the line of the file: `shards.yaml:12: shard "b" (10.0.0.1:2379): …`. */
export function contradictionLines(
  contradictions: readonly Contradiction[],
  config: Config,
  configFile: string,
): string[] {
  const place = placesIn(configFile);
  return contradictions.map((each) => `${place(each.path)}: ${describeContradiction(each, config)}`);
}

/** The text of a start error for operators. */
export function startError(error: Error, configFile: string): string {
  if (!(error instanceof ContradictionError)) return withDetail(error);
  const lines = contradictionLines(error.contradictions, error.config, configFile);
  return ["the clusters contradict this configuration:", ...lines].join("\n  ");
}
