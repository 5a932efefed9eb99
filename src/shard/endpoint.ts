import { connect } from "node:net";
import {
  Channel,
  connectivityState,
  credentials,
  type Metadata,
  Metadata as MetadataClass,
} from "@grpc/grpc-js";
import type { EndpointAddress } from "./address.js";
import { classify, connectionReason, type RawStatus } from "./errors.js";

export type Call = ReturnType<Channel["createCall"]>;

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
  /** Whether calls go to this endpoint as long as it works. */
  readonly inUse: boolean;
}

export interface CallListener {
  message(message: Buffer): void;
  /** Called once; code 0 is success. */
  ended(status: RawStatus): void;
}

/** Reconnection backoff in milliseconds; the library adds 20 % of jitter. Small, so that a restarted etcd is soon in use again. */
const BACKOFF_FIRST = 100;
const BACKOFF_MAX = 1000;
/** etcd closes connections that ping more often than every 5 s, or without a call in flight. */
const PING_INTERVAL = 6000;
const PING_TIMEOUT = 3000;
/** How often, and how long each time, a connection that does not come about is looked into, ms. */
const PROBE_INTERVAL = 1500;
const PROBE_TIMEOUT = 1000;

const CHANNEL_OPTIONS = {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc.initial_reconnect_backoff_ms": BACKOFF_FIRST,
  "grpc.max_reconnect_backoff_ms": BACKOFF_MAX,
  "grpc.dns_min_time_between_resolutions_ms": BACKOFF_MAX,
  "grpc.keepalive_time_ms": PING_INTERVAL,
  "grpc.keepalive_timeout_ms": PING_TIMEOUT,
  "grpc.keepalive_permit_without_calls": 0,
  // An own connection per channel: a fresh channel must not inherit the connection attempt it replaces.
  "grpc.use_local_subchannel_pool": 1,
  // Calls are sent again by our own rules only, see client.ts.
  "grpc.enable_retries": 0,
  "grpc.enable_http_proxy": 0,
  "grpc.enable_channelz": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc-node.flow_control_window": 4 * 1024 * 1024,
} as const;

const NO_METADATA = new MetadataClass();
/** Answered by every etcd from its own state, whether or not it has a leader. */
const STATUS_PATH = "/etcdserverpb.Maintenance/Status";

/** Metadata of a call; shared and empty where there is none. */
export function toMetadata(fields: Readonly<Record<string, string>> | undefined): Metadata {
  if (fields === undefined) return NO_METADATA;
  const metadata = new MetadataClass();
  for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
  return metadata;
}

/**
 * The connection to one endpoint: keeps itself connected from the first `connect()` on, tells its state, and
 * notices when requests go unanswered.
 */
export class Endpoint {
  readonly label: string;
  private readonly address: EndpointAddress;
  private channel: Channel;
  private state: EndpointState = "idle";
  private lastError: string | undefined;
  private connecting = false;
  private closed = false;
  private silent = false;
  /** Start times (ms) of the calls that wait for an answer, oldest first. */
  private readonly waiting = new Map<Call, number>();
  private lastHeard = 0;
  private silenceTimer: NodeJS.Timeout | undefined;
  private probeTimer: NodeJS.Timeout | undefined;
  /** Whether the last look at a connection that does not come about found the host reachable. */
  private reachable = true;

  /**
   * `onChange` is called after each change of state. An endpoint is silent when nothing has come from it for
   * `silenceMs` although a call waits.
   */
  constructor(
    address: EndpointAddress,
    private readonly silenceMs: number,
    private readonly onChange: (endpoint: Endpoint) => void,
  ) {
    this.address = address;
    this.label = address.label;
    this.channel = this.open();
  }

  get health(): Omit<EndpointHealth, "inUse"> {
    return { url: this.label, state: this.state, lastError: this.lastError };
  }

  /** True when a call can be sent right now. */
  get ready(): boolean {
    return !this.closed && this.channel.getConnectivityState(false) === connectivityState.READY;
  }

  /** True while requests go unanswered; another endpoint is the better choice. */
  get isSilent(): boolean {
    return this.silent;
  }

  /** Starts to connect, and from then on connects again whenever the connection is lost. */
  connect(): void {
    if (this.connecting || this.closed) return;
    this.connecting = true;
    this.follow();
  }

  /** Begins a call; nothing is read before `startRead`. Only for an endpoint that is `ready`. */
  begin(path: string, metadata: Metadata, listener: CallListener): Call {
    const call = this.channel.createCall(path, Number.POSITIVE_INFINITY, null, null, null);
    call.start(metadata, {
      onReceiveMetadata: () => this.heard(),
      onReceiveMessage: (message: Buffer) => {
        this.heard();
        listener.message(message);
      },
      onReceiveStatus: (status) => {
        if (classify(status) === "etcd") this.heard();
        listener.ended(status);
      },
    });
    return call;
  }

  /** Tells that `call` waits for its answer from now on, until `answered`. */
  expectAnswer(call: Call): void {
    this.waiting.set(call, Date.now());
    if (this.silenceTimer === undefined) this.armSilence(this.silenceMs);
  }

  answered(call: Call): void {
    this.waiting.delete(call);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.silenceTimer);
    clearTimeout(this.probeTimer);
    this.channel.close();
  }

  private open(): Channel {
    // The one place where TLS to shards will go.
    return new Channel(this.address.target, credentials.createInsecure(), CHANNEL_OPTIONS);
  }

  /** Follows the channel's state for as long as it is the current one, and keeps it from idling. */
  private follow(): void {
    const channel = this.channel;
    if (this.closed) return;
    const state = channel.getConnectivityState(true);
    this.apply(state);
    channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => {
      if (this.channel === channel) this.follow();
    });
  }

  private apply(state: connectivityState): void {
    const before = this.state;
    if (state === connectivityState.READY) {
      this.lastError = undefined;
      this.reachable = true;
      this.silent = false;
      clearTimeout(this.probeTimer);
      this.probeTimer = undefined;
      this.state = "ready";
    } else {
      this.silent = false;
      this.probeTimer ??= setTimeout(() => this.probe(), PROBE_INTERVAL).unref();
      if (state === connectivityState.TRANSIENT_FAILURE) {
        this.state = "failed";
        this.askReason();
      } else if (this.state !== "failed") {
        this.state = "connecting";
      }
    }
    if (this.state !== before) this.onChange(this);
  }

  /** The library tells why a connection failed only through a failing call. */
  private askReason(): void {
    const call = this.channel.createCall(STATUS_PATH, Number.POSITIVE_INFINITY, null, null, null);
    call.start(NO_METADATA, {
      onReceiveMetadata: () => {},
      onReceiveMessage: () => {},
      onReceiveStatus: (status) => {
        if (this.state === "failed" && status.code !== 1) {
          this.lastError = connectionReason(status.details);
          this.onChange(this);
        }
      },
    });
    setImmediate(() => setImmediate(() => call.cancelWithStatus(1, "not needed any more")));
  }

  /**
   * Looks into a connection that does not come about. After a network cut the kernel repeats its attempt at
   * ever longer intervals, up to a minute; a host that is reachable again is therefore connected to afresh. A
   * host that was reachable all the time (an etcd that is stopped, say) is not: its pending connection is as good
   * as a new one.
   */
  private probe(): void {
    this.probeTimer = undefined;
    const channel = this.channel;
    const socket = connect({ ...this.address.socket });
    const done = (reachable: boolean, reason: string) => {
      socket.destroy();
      if (this.closed || this.state === "ready" || this.channel !== channel) return;
      const back = reachable && !this.reachable;
      this.reachable = reachable;
      if (this.state === "connecting" || !reachable) this.lastError = reason;
      this.probeTimer ??= setTimeout(() => this.probe(), PROBE_INTERVAL).unref();
      if (back && this.state === "connecting") this.reopen();
    };
    socket.unref();
    socket.setTimeout(PROBE_TIMEOUT, () => done(false, "no answer"));
    socket.once("connect", () => done(true, "accepts connections but does not answer"));
    socket.once("error", (error) => done(false, connectionReason(error.message)));
  }

  private reopen(): void {
    const old = this.channel;
    this.channel = this.open();
    old.close();
    this.follow();
  }

  private heard(): void {
    this.lastHeard = Date.now();
    if (this.silent) {
      this.silent = false;
      this.lastError = undefined;
      this.state = "ready";
      if (this.waiting.size > 0 && this.silenceTimer === undefined) this.armSilence(this.silenceMs);
      this.onChange(this);
    }
  }

  private armSilence(delay: number): void {
    this.silenceTimer = setTimeout(() => {
      this.silenceTimer = undefined;
      const oldest = this.waiting.values().next();
      if (oldest.done || this.closed) return;
      const silence = Date.now() - Math.max(this.lastHeard, oldest.value);
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
    const call = this.begin(STATUS_PATH, NO_METADATA, {
      message: () => {},
      ended: (status) => {
        if (classify(status) === "answer") this.heard();
      },
    });
    call.sendMessageWithContext({}, Buffer.alloc(0));
    call.halfClose();
    call.startRead();
    this.onChange(this);
  }
}
