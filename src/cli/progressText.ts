import type { PlanProgress } from "../reshard/progress.js";
import { duration } from "./planText.js";
import { plural, size, thousands } from "./table.js";

/** Cells of the bar. */
const BAR = 24;

/** How fast keys move, as measured by whoever shows it. */
export interface Speed {
  readonly keysPerSecond: number | undefined;
  /** Seconds left; undefined if that is not known. */
  readonly seconds: number | undefined;
}

/** The share of the keys that has moved, in whole percent; undefined if that is not known. Never 100, because steps follow. */
function percentOf({ keys, totalKeys }: PlanProgress): number | undefined {
  if (totalKeys === null || totalKeys === 0) return undefined;
  return Math.min(99, Math.floor((100 * (keys ?? 0)) / totalKeys));
}

/** The keys and bytes that have moved: `1,200 of 4,800 keys (25%), 1.0 MiB of 4.0 MiB`. */
export function amountText(progress: PlanProgress): string {
  const { keys, bytes, totalKeys, totalBytes } = progress;
  const percent = percentOf(progress);
  const moved = thousands(keys ?? 0);
  const counted =
    totalKeys === null
      ? plural(keys ?? 0, "key")
      : `${moved} of ${plural(totalKeys, "key")} (${percent ?? 99}%)`;
  const sizes = totalBytes === null ? size(bytes ?? 0) : `${size(bytes ?? 0)} of ${size(totalBytes)}`;
  return `${counted}, ${sizes}`;
}

/** Rate, time left, number of steps and pause, as far as they are known. */
function paceText({ steps, lastPauseMs, maxKeysPerSecond }: PlanProgress, speed: Speed): string {
  const { keysPerSecond, seconds } = speed;
  const parts: string[] = [];
  if (keysPerSecond !== undefined) parts.push(`${thousands(Math.round(keysPerSecond))} keys/s`);
  if (maxKeysPerSecond !== null) parts.push(`limited to ${thousands(maxKeysPerSecond)} keys/s`);
  if (steps !== null) parts.push(plural(steps, "step"));
  if (lastPauseMs !== null && (steps ?? 0) > 0) parts.push(`last pause ${milliseconds(lastPauseMs)}`);
  if (seconds !== undefined) parts.push(`${duration(seconds)} left`);
  return parts.join(", ");
}

/** What happens at the moment, or why nothing does. */
export function stateText({ state, reason, advice, step, phase, proxy, frozen }: PlanProgress): string {
  switch (state) {
    case "paused":
      return proxy === null || step === null ? `paused; ${advice}` : `paused after this step; ${advice}`;
    case "unattended":
      return `waiting for a proxy to take the plan${advice === null ? "" : `; ${advice}`}`;
    case "waiting":
      return `waiting: ${reason}; ${advice}`;
    case "moving": {
      const place = step === null ? "" : ` ${boundText(step.from)} to ${boundText(step.to)}`;
      return `moving${place}${phase === null ? "" : ` (${phase})`}${frozen ? ", some keys wait now" : ""}`;
    }
  }
}

const boundText = (bound: string | null): string => (bound === null ? "the end" : `"${bound}"`);

export const milliseconds = (ms: number): string => `${thousands(Math.round(ms))} ms`;

const planName = ({ plan, direction }: PlanProgress): string =>
  `plan ${plan}${direction === "down" ? " (turned back)" : ""}`;

/** The progress as one line, for logs. */
export function progressLine(progress: PlanProgress, speed: Speed): string {
  const parts = [amountText(progress), paceText(progress, speed), stateText(progress)];
  return `${planName(progress)}: ${parts.filter((part) => part !== "").join("; ")}`;
}

/** The progress as lines of a terminal. */
export function progressBlock(progress: PlanProgress, speed: Speed): string[] {
  const percent = percentOf(progress);
  const full = Math.round(((percent ?? 0) * BAR) / 100);
  const bar = percent === undefined ? "" : `[${"#".repeat(full)}${"-".repeat(BAR - full)}] `;
  return [
    `${planName(progress)}  ${bar}${amountText(progress)}`,
    paceText(progress, speed),
    stateText(progress),
  ].map((line, index) => (index === 0 ? line : `  ${line}`));
}
