import type { PlanStore } from "../app/reshard/planStore.js";
import { removedShards } from "../reshard/removedShards.js";
import { parseMap } from "../routing/fingerprint.js";
import { milliseconds } from "./progressText.js";
import { plural, thousands } from "./table.js";
import type { Ending } from "./watchPlan.js";

/** A shard that a store does not use for new revisions any more, as `--json` prints it. */
export interface RemovedReport {
  readonly name: string;
  /** The lowest revision at which a compaction frees the shard; null if one has. */
  readonly compactAt: number | null;
}

type Placed = Pick<PlanStore["timeline"], "placement">;

/** All shards that the store has had and does not use any more. */
export function reportRemoved({ placement }: Placed): RemovedReport[] {
  return removedShards(placement).map(({ name, lastMove }) => ({
    name,
    compactAt: lastMove === undefined ? null : lastMove + 1,
  }));
}

export const isNeeded = ({ compactAt }: RemovedReport): boolean => compactAt !== null;

/** Whether a removed shard may be switched off, and what has to be done before. */
export function removedText({ name, compactAt }: RemovedReport): string {
  if (compactAt !== null) {
    return (
      `shard ${name} is still needed for reads and watches of revisions below ${thousands(compactAt)}: ` +
      `compact the store (\`etcdctl compaction ${compactAt}\`, or a newer revision), then see \`braid status\``
    );
  }
  return `shard ${name} is not needed any more: remove it from the proxies' files, then switch it off`;
}

/** The result of a plan that has ended while it was watched. */
export interface EndReport {
  readonly type: "done";
  readonly plan: number;
  /** Null if they are not known. */
  readonly keys: number | null;
  readonly bytes: number | null;
  readonly steps: number | null;
  readonly longestPauseMs: number | null;
  /** Seconds since the plan was recorded; null if this command has not recorded it. */
  readonly seconds: number | null;
  /** The shards that the plan has removed. */
  readonly removed: readonly RemovedReport[];
}

export function reportEnding(
  { plan, progress }: Ending,
  timeline: Placed,
  seconds: number | undefined,
): EndReport {
  const [reached, left] = plan.up ? [plan.below, plan.above] : [plan.above, plan.below];
  const stays = new Set(namesOf(reached));
  const gone = new Set(namesOf(left).filter((name) => !stays.has(name)));
  return {
    type: "done",
    plan: plan.number,
    keys: progress?.keys ?? null,
    bytes: progress?.bytes ?? null,
    steps: progress?.steps ?? null,
    longestPauseMs: progress?.longestPauseMs ?? null,
    seconds: seconds ?? null,
    removed: reportRemoved(timeline).filter(({ name }) => gone.has(name)),
  };
}

const namesOf = (map: string): string[] => parseMap(map).shards.map(({ name }) => name);

export function endingText({ plan, keys, seconds, longestPauseMs, removed }: EndReport): string {
  const time = seconds === null ? "" : ` in ${timeText(seconds)}`;
  const moved = keys === null ? "" : `: ${plural(keys, "key")} moved${time}`;
  const pause =
    keys === null || longestPauseMs === null ? "" : `, longest pause ${milliseconds(longestPauseMs)}`;
  const lines = removed.map((each) => `  ${removedText(each)}`);
  return [`Plan ${plan} is done${moved}${pause}.`, ...lines].join("\n");
}

/** A duration: `12.3 s`, `4 min 5 s`, `2 h 7 min`. */
export function timeText(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
