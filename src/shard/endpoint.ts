import type { Transport } from "../config/types.js";
import { turnTime } from "../turn/clock.js";
import { Maintenance } from "../wire/paths.js";
import type { EndpointAddress } from "./address.js";
import { classify } from "./errors.js";
import type { CallListener, Link, LinkCall } from "./link.js";
import { openLink } from "./openLink.js";
import type { ShardTlsContext } from "./tls.js";

/**
 * `silent`: connected, but requests go unanswered. `failed`: the latest attempt to connect failed, and the next
 * follows after a backoff.
 */
export type EndpointState = "idle" | "connecting" | "ready" | "silent" | "failed";

/** Health of one endpoint, for `braid check` and metrics. */
export interface EndpointHealth {
  /** The endpoint's label, such as `host:port`. */
  readonly url: string;
  readonly state: EndpointState;
  /** The latest failure, until the endpoint works again. */
  readonly lastError: string | undefined;
  /** Number of connections established. */
  readonly connects: number;
  /** Number of connections lost and of failed attempts to connect. */
  readonly failures: number;
  /** Whether calls use this endpoint as long as it works. */
  readonly inUse: boolean;
}

/** The connection to one endpoint. From the first `connect()` on it stays connected, and detects unanswered requests. */
export class Endpoint {
  readonly label: string;
  private readonly link: Link;
  private state: EndpointState = "idle";
  private lastError: string | undefined;
  private closed = false;
  private silent = false;
  private connects = 0;
  private failures = 0;
  /** `turnTime()` of the latest sign of life. */
  private lastHeard = 0;
  private silenceTimer: NodeJS.Timeout | undefined;

  /**
   * Calls `onChange` after each change of state. An endpoint is silent if it has sent nothing for `silenceMs`
   * while a call waits. `waitingSince` returns when the oldest waiting call was sent, by `turnTime()`.
   */
  constructor(
    address: EndpointAddress,
    transport: Transport,
    tls: ShardTlsContext | undefined,
    private readonly silenceMs: number,
    private readonly onChange: (endpoint: Endpoint) => void,
    private readonly waitingSince: (endpoint: Endpoint) => number | undefined,
  ) {
    this.label = address.label;
    this.link = openLink(transport, address, tls, {
      changed: (state, reason) => this.changed(state, reason),
      heard: () => this.heard(),
    });
  }

  get health(): Omit<EndpointHealth, "inUse"> {
    const { label, state, lastError, connects, failures } = this;
    return { url: label, state, lastError, connects, failures };
  }

  /** True if a call can be sent now. */
  get ready(): boolean {
    return !this.closed && this.link.ready;
  }

  /** True while requests go unanswered. Another endpoint is the better choice. */
  get isSilent(): boolean {
    return this.silent;
  }

  /** Connects, and from then on reconnects whenever the connection is lost. */
  connect(): void {
    if (!this.closed) this.link.connect();
  }

  /** Begins a call. The endpoint must be `ready`. */
  begin(
    path: string,
    metadata: Readonly<Record<string, string>> | undefined,
    listener: CallListener,
  ): LinkCall {
    return this.link.begin(path, metadata, listener);
  }

  /** Call it when a call starts to wait for its answer. */
  expectAnswer(): void {
    if (this.silenceTimer === undefined) this.armSilence(this.silenceMs);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.silenceTimer);
    this.link.close();
  }

  private changed(state: "connecting" | "ready" | "failed", reason: string | undefined): void {
    if (this.closed) return;
    const { state: stateBefore, lastError: errorBefore } = this;
    this.silent = false;
    if (state === "ready") this.connects++;
    else if (state === "failed") this.failures++;
    if (state === "ready") this.lastError = undefined;
    else if (reason !== undefined) this.lastError = reason;
    // Between failed attempts, the endpoint stays "failed".
    if (state !== "connecting" || this.state !== "failed") this.state = state;
    if (this.state !== stateBefore || this.lastError !== errorBefore) this.onChange(this);
  }

  private heard(): void {
    this.lastHeard = turnTime();
    if (this.silent) {
      this.silent = false;
      this.lastError = undefined;
      this.state = "ready";
      if (this.silenceTimer === undefined) this.armSilence(this.silenceMs);
      this.onChange(this);
    }
  }

  private armSilence(delay: number): void {
    this.silenceTimer = setTimeout(() => {
      this.silenceTimer = undefined;
      const oldest = this.waitingSince(this);
      if (oldest === undefined || this.closed) return;
      const silence = turnTime() - Math.max(this.lastHeard, oldest);
      if (silence < this.silenceMs) this.armSilence(this.silenceMs - silence);
      else if (this.ready && !this.silent) this.becomeSilent();
      else this.armSilence(this.silenceMs);
    }, delay).unref();
  }

  private becomeSilent(): void {
    this.silent = true;
    this.state = "silent";
    this.lastError = `no answer for ${this.silenceMs} ms`;
    // This call stays open until the endpoint answers. It shows when the endpoint is back, and keeps up the pings
    // that detect a dead connection.
    const call = this.begin(Maintenance.Status, undefined, {
      message: () => {},
      ended: (status) => {
        if (classify(status) === "answer") this.heard();
      },
    });
    call.sendAndEnd(new Uint8Array(0));
    this.onChange(this);
  }
}
