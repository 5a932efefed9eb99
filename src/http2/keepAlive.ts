import { turnTime } from "../turn/clock.js";
import type { ConnectionLimits } from "./limits.js";
import type { Sender } from "./sender.js";

/** First half of the payload of keep-alive pings. */
export const KEEPALIVE_PING = 0;

/** Detects a dead peer: pings it after a silence, and gives it up if the ping is not answered. */
export class KeepAlive {
  private lastHeard = turnTime();
  private pingTimer: NodeJS.Timeout | undefined;
  private pongTimer: NodeJS.Timeout | undefined;

  /** `isBusy` returns whether there are streams. `lost` is called when the peer is given up. */
  constructor(
    private readonly limits: ConnectionLimits,
    private readonly sender: Sender,
    private readonly isBusy: () => boolean,
    private readonly lost: () => void,
  ) {
    this.arm(limits.pingIntervalMs);
  }

  /** Call it for any data from the peer. */
  heard(): void {
    this.lastHeard = turnTime();
  }

  /** Call it when the peer has answered a ping. */
  answered(): void {
    clearTimeout(this.pongTimer);
    this.pongTimer = undefined;
  }

  /** Call it when a stream begins. */
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
      this.sender.ping(KEEPALIVE_PING, 0, false);
      this.pongTimer = setTimeout(this.lost, pingTimeoutMs).unref();
    }
    this.arm(pingIntervalMs);
  }
}
