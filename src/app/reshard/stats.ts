import type { MovedStep } from "../../mover/mover.js";

/** What this proxy has moved since its start, for metrics. */
export class ReshardStats {
  /** True while this proxy moves keys. */
  isMover = false;
  /** True while it would, but is paused, or waits after a failure. */
  isWaiting = false;
  keys = 0;
  /** Bytes of keys and values. */
  bytes = 0;
  steps = 0;
  /** Keys per second of the last step; 0 while this proxy does not move keys. */
  keysPerSecond = 0;
  /** How long calls to the last step waited, in milliseconds. */
  lastPauseMs = 0;
  /** The longest of these pauses in a plan, since this proxy began to move its keys. */
  longestPauseMs = 0;

  /** To be called when this proxy begins to move keys. */
  begin(): void {
    this.isMover = true;
    this.lastPauseMs = 0;
    this.longestPauseMs = 0;
  }

  moved({ keys, bytes, keysPerSecond, pauseMs }: MovedStep): void {
    this.keys += keys;
    this.bytes += bytes;
    this.steps++;
    this.keysPerSecond = keysPerSecond;
    this.lastPauseMs = pauseMs;
    this.longestPauseMs = Math.max(this.longestPauseMs, pauseMs);
  }

  /** To be called when this proxy no longer moves keys. */
  end(): void {
    this.isMover = false;
    this.isWaiting = false;
    this.keysPerSecond = 0;
  }
}
