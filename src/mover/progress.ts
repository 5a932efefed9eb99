import type { Bound } from "../reshard/bound.js";

/** What the mover does at the moment. From `freeze` to `move`, calls to the step wait. */
export type Phase =
  | "idle"
  | "choose"
  | "clear"
  | "copy"
  | "verify"
  | "catch up"
  | "freeze"
  | "drain"
  | "move"
  | "clean"
  | "finish";

/** The mover's progress, for status and metrics. Read it at any time; the mover changes it. */
export interface Progress {
  /** Number of the plan; 0 before the first claim. */
  readonly plan: number;
  readonly phase: Phase;
  /** The step that is under way, [from, to); undefined between steps. */
  readonly step: { readonly from: Bound; readonly to: Bound } | undefined;
  /** Keys copied in this step. */
  readonly stepKeys: number;
  /** Keys moved by this mover. */
  readonly keys: number;
  /** Bytes of keys and values moved by this mover. */
  readonly bytes: number;
  /** Steps moved by this mover. */
  readonly steps: number;
  /** Keys per second of the last step that moved, from its begin to its move; 0 before. */
  readonly keysPerSecond: number;
  /** How long calls to the last step waited, in milliseconds; 0 before. */
  readonly lastPauseMs: number;
  /** The longest of these pauses. */
  readonly longestPauseMs: number;
  /** Why the mover does not get on at the moment, for operators: a failure after which it tries again, or `paused`. */
  readonly waiting: string | undefined;
}

/** A progress that the mover changes. */
export type MutableProgress = { -readonly [Field in keyof Progress]: Progress[Field] };

export const newProgress = (): MutableProgress => ({
  plan: 0,
  phase: "idle",
  step: undefined,
  stepKeys: 0,
  keys: 0,
  bytes: 0,
  steps: 0,
  keysPerSecond: 0,
  lastPauseMs: 0,
  longestPauseMs: 0,
  waiting: undefined,
});
