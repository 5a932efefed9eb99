import { printable } from "../routing/bytes.js";
import type { Plan } from "./placement.js";
import { type Control, controlOf, type ProgressRecord, type Seat } from "./record.js";

/** How far an active plan is, as `--json` prints it. */
export interface PlanProgress {
  readonly plan: number;
  /** "up" while keys move to the new map, "down" after a turn back. */
  readonly direction: "up" | "down";
  /** Keys below it are placed by the new map. As text, with `\xNN` for unprintable bytes; null above all keys. */
  readonly cursor: string | null;
  /** True while calls to a part of the keys wait. */
  readonly frozen: boolean;
  /** `unattended`: no proxy moves keys. `waiting`: the proxy that moves keys cannot go on. */
  readonly state: "moving" | "paused" | "waiting" | "unattended";
  /** The proxy that moves keys: `<host name>:<process id>/<random>`. */
  readonly proxy: string | null;
  /** Why no keys move. */
  readonly reason: string | null;
  /** What to do about it. */
  readonly advice: string | null;
  readonly maxKeysPerSecond: number | null;
  /** Keys that have moved, and that are copied in the step under way; null while that is not known. */
  readonly keys: number | null;
  /** Bytes of the keys that have moved, and of their values. */
  readonly bytes: number | null;
  /** Steps that have moved. */
  readonly steps: number | null;
  /** Keys and bytes to move, as counted when the plan was recorded; null if they were not. */
  readonly totalKeys: number | null;
  readonly totalBytes: number | null;
  /** What the proxy does at the moment, such as `copy`. */
  readonly phase: string | null;
  /** The keys that move now, as `cursor`. */
  readonly step: { readonly from: string | null; readonly to: string | null } | null;
  readonly keysPerSecond: number | null;
  /** How long calls to the last step waited, in milliseconds. */
  readonly lastPauseMs: number | null;
  readonly longestPauseMs: number | null;
}

/** What is recorded about a plan beside the log. */
interface Records {
  readonly control: Control | undefined;
  readonly seat: Seat | undefined;
  readonly progress: ProgressRecord | undefined;
}

/** Puts together what the log and the records say about an active plan. */
export function progressOf(plan: Plan, { control, seat, progress }: Records): PlanProgress {
  const { paused, maxKeysPerSecond, keys, bytes } = controlOf(control, plan.number);
  const known = progress?.plan === plan.number ? progress : undefined;
  const waiting = known?.waiting ?? undefined;
  const base = {
    plan: plan.number,
    direction: plan.up ? ("up" as const) : ("down" as const),
    cursor: plan.cursor === null ? null : printable(plan.cursor),
    frozen: plan.frozen !== undefined,
    proxy: seat?.proxy ?? null,
    maxKeysPerSecond,
    keys: known === undefined ? null : known.keys + known.stepKeys,
    bytes: known?.bytes ?? null,
    steps: known?.steps ?? null,
    totalKeys: keys,
    totalBytes: bytes,
    phase: known?.phase ?? null,
    step: known?.step ?? null,
    keysPerSecond: known?.keysPerSecond ?? null,
    lastPauseMs: known?.lastPauseMs ?? null,
    longestPauseMs: known?.longestPauseMs ?? null,
  };
  if (paused)
    return { ...base, state: "paused", reason: null, advice: "`braid apply --resume` continues it" };
  if (seat === undefined) {
    const advice = "is one running, and of this version?";
    return { ...base, state: "unattended", reason: "no proxy has taken the plan", advice };
  }
  // The mover says so until it notices the end of a pause.
  if (waiting === undefined || waiting === "paused") {
    return { ...base, state: "moving", reason: null, advice: null };
  }
  return { ...base, state: "waiting", reason: waiting, advice: adviceOn(waiting) };
}

/** What solves a problem of the mover. It tries again by itself. */
function adviceOn(reason: string): string {
  if (/goes on without this shard/.test(reason)) return "start the shard again, so that it is left empty";
  if (/database space exceeded/.test(reason))
    return "give the shard more space, and disarm its alarm (`etcdctl alarm disarm`); the move then continues";
  if (/entry of the timeline log/.test(reason)) return "or turn the plan back: `braid apply --turn-back`";
  if (/no endpoint reachable|not connected|cannot be reached|connection/.test(reason))
    return "start the shard again; the move then continues. If a new shard is lost: `braid apply --turn-back`";
  return "the proxy tries again by itself; `braid apply --turn-back` moves the keys back";
}
