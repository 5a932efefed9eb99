import { turnTime } from "../turn/clock.js";
import type { ConnectionLimits } from "./limits.js";
import type { Sender } from "./sender.js";

/** Mark of the pings that only ask whether the peer is there. */
export const LIFE_SIGN = 0;

/**
 * Finds out when a peer is gone without a word: pings after a silence, and gives up when the ping is not answered.
 */
export class KeepAlive {
  private lastHeard = turnTime();
  private pingTimer: NodeJS.Timeout | undefined;
  private pongTimer: NodeJS.Timeout | undefined;

  /** `isBusy` tells whether there are streams, `lost` is called once the peer is given up. */
  constructor(
    private readonly limits: ConnectionLimits,
    private readonly sender: Sender,
    private readonly isBusy: () => boolean,
    private readonly lost: () => void,
  ) {
    this.arm(limits.pingIntervalMs);
  }

  /** Something has come from the peer. */
  heard(): void {
    this.lastHeard = turnTime();
  }

  /** The peer has answered a ping. */
  answered(): void {
    clearTimeout(this.pongTimer);
    this.pongTimer = undefined;
  }

  /** A stream has begun. */
  busy(): void {
    if (this.pingTimer === undefined && this.limits.pingOnlyWithStreams) this.arm(this.limits.pingIntervalMs);
  }

  stop(): void {
    clearTimeout(this.pingTimer);
    clearTimeout(this.pongTimer);
  }

  private arm(delay: number): void {
    this.pingTimer = setTimeout(() => this.due(), delay).unref();
  }

  private due(): void {
    const { pingIntervalMs, pingTimeoutMs, pingOnlyWithStreams } = this.limits;
    this.pingTimer = undefined;
    if (pingOnlyWithStreams && !this.isBusy()) return;
    const silence = turnTime() - this.lastHeard;
    if (silence < pingIntervalMs) {
      this.arm(pingIntervalMs - silence);
      return;
    }
    if (this.pongTimer === undefined) {
      this.sender.ping(LIFE_SIGN, 0, false);
      this.pongTimer = setTimeout(this.lost, pingTimeoutMs).unref();
    }
    this.arm(pingIntervalMs);
  }
}
