import type { Transport } from "../config/types.js";
import { turnTime } from "../turn/clock.js";
import { Maintenance } from "../wire/paths.js";
import type { EndpointAddress } from "./address.js";
import { classify } from "./errors.js";
import type { CallListener, Link, LinkCall } from "./link.js";
import { openLink } from "./openLink.js";
import type { ShardTlsContext } from "./tls.js";

/**
 * `silent`: connected, but requests go unanswered. `failed`: the last attempt to connect failed, the next
 * comes after a backoff.
 */
export type EndpointState = "idle" | "connecting" | "ready" | "silent" | "failed";

/** Health of one endpoint, for `braid check` and metrics. */
export interface EndpointHealth {
  /** `host:port`. */
  readonly url: string;
  readonly state: EndpointState;
  /** The latest failure, kept until the endpoint works again. */
  readonly lastError: string | undefined;
  /** How often it was connected, and how often a connection, or an attempt to connect, has failed. */
  readonly connects: number;
  readonly failures: number;
  /** Whether calls go to this endpoint as long as it works. */
  readonly inUse: boolean;
}

/**
 * The connection to one endpoint: keeps itself connected from the first `connect()` on, tells its state, and
 * notices when requests go unanswered.
 */
export class Endpoint {
  readonly label: string;
  private readonly link: Link;
  private state: EndpointState = "idle";
  private lastError: string | undefined;
  private closed = false;
  private silent = false;
  private connects = 0;
  private failures = 0;
  /** `turnTime()` when something came for a call. */
  private lastHeard = 0;
  private silenceTimer: NodeJS.Timeout | undefined;

  /**
   * `onChange` is called after each change of state. An endpoint is silent when nothing has come from it for
   * `silenceMs` although a call waits: `waitingSince` tells when the oldest that waits was sent.
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

  /** True when a call can be sent right now. */
  get ready(): boolean {
    return !this.closed && this.link.ready;
  }

  /** True while requests go unanswered; another endpoint is the better choice. */
  get isSilent(): boolean {
    return this.silent;
  }

  /** Starts to connect, and from then on connects again whenever the connection is lost. */
  connect(): void {
    if (!this.closed) this.link.connect();
  }

  /** Begins a call. Only for an endpoint that is `ready`. */
  begin(
    path: string,
    metadata: Readonly<Record<string, string>> | undefined,
    listener: CallListener,
  ): LinkCall {
    return this.link.begin(path, metadata, listener);
  }

  /** Tells that a call waits for its answer from now on. */
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
    // Between two attempts that fail nothing has become better.
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
    // A call that stays open until the endpoint answers: it tells when the endpoint is back, and lets the
    // pings run that close a dead connection.
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
