import type { StatusError } from "../status/error.js";
import { turnTime } from "../turn/clock.js";
import type { Runtime } from "../turn/runtime.js";
import type { Sealed } from "./view.js";

/** How long a write waits for a host that is away before it is refused. */
const HOST_WAIT_MS = 1_500;
/** Interval between checks of whether a host that was away is back. */
const HOST_POLL_MS = 25;

/** Writes that wait for a timeline host that is away. */
export class HeldWrites {
  private held: HeldWrite[] = [];

  constructor(
    private readonly runtime: Runtime,
    /** Whether the host may still come back. */
    private readonly isAway: () => boolean,
    /** Why a write may not be sent now; undefined if it may. */
    private readonly refusal: () => StatusError | undefined,
  ) {}

  /** Calls `done` once: when the host is back, when it never will be, or when the write has waited long enough. */
  add(done: Sealed): void {
    if (this.held.push({ until: turnTime() + HOST_WAIT_MS, done }) === 1) this.poll();
  }

  private poll(): void {
    this.runtime.timer(HOST_POLL_MS, () => {
      const now = turnTime();
      // All writes wait equally long, so those that time out are at the front.
      const next = this.isAway() ? this.held.findIndex(({ until }) => until > now) : -1;
      const settled = this.held.splice(0, next < 0 ? this.held.length : next);
      if (this.held.length > 0) this.poll();
      if (settled.length === 0) return;
      const refusal = this.refusal();
      for (const { done } of settled) done(refusal);
    });
  }
}

interface HeldWrite {
  /** `turnTime()` at which the write is refused. */
  readonly until: number;
  readonly done: Sealed;
}
