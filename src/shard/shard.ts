import type { StatusError } from "../status/error.js";
import type { Caller, CallMetadata } from "./caller.js";

export interface CallOptions {
  /**
   * True for a call that may be sent again to another endpoint when its outcome is unknown (reads,
   * keep-alives). False for writes: these are sent again only when they certainly never left.
   */
  readonly idempotent: boolean;
  /** True for a call that is not idempotent, to be given up (`AbandonedError`) once its endpoint is silent and another answers. */
  readonly abandonSilent?: boolean;
  /** True when the answer may come from a member that lags (a serializable read): its revision proves nothing. */
  readonly mayLag?: boolean;
  /** Milliseconds since the epoch; default: the shard's own request timeout from now. */
  readonly deadline?: number | undefined;
  /** Request metadata to add (e.g. `hasleader`). */
  readonly metadata?: CallMetadata | undefined;
  /** The client's call that this one is made for; it is told when this one takes long. */
  readonly origin?: Origin | undefined;
  /** Whom the call is made for: it carries that caller's token. Absent: the proxy itself, with its own credentials. */
  readonly caller?: Caller | undefined;
}

/** Who a stream is for, and metadata to add. */
export type StreamOptions = Pick<CallOptions, "caller" | "metadata">;

/** A client's call as the shards see it. */
export interface Origin {
  /** The longest call to a shard, of those that took long. */
  slowest?: SlowCall | undefined;
}

export interface SlowCall {
  readonly shard: string;
  /** `host:port`; undefined when none could be reached. */
  readonly endpoint: string | undefined;
  readonly path: string;
  readonly ms: number;
  /** How often it was sent. */
  readonly attempts: number;
}

export type Done = (error: StatusError | undefined, response: Uint8Array) => void;

/** A bidirectional stream to one endpoint of a shard. It ends once; whoever opened it opens the next. */
export interface ShardStream {
  /** `last`: no other message follows, which a method that takes only one may wait to be told. */
  send(message: Uint8Array, last?: boolean): void;
  /** Stops and restarts delivery of messages: backpressure towards the shard. */
  pause(): void;
  resume(): void;
  cancel(): void;
}

export interface StreamEvents {
  message(message: Uint8Array): void;
  /** Called once, when the stream has ended for whatever reason but `cancel()`. */
  closed(error: StatusError): void;
}

/** One backend etcd cluster. Connects lazily, fails over between its endpoints, names itself in errors. */
export interface Shard {
  /** Place in the configured order; -1 for a timeline host that is no shard. */
  readonly index: number;
  readonly name: string;
  /** Unary call. `done` is called exactly once, unless the returned function cancelled the call first. */
  unary(path: string, request: Uint8Array, options: CallOptions, done: Done): () => void;
  /** The same as a promise, for what is not hot. Rejects with `StatusError`. */
  call(path: string, request: Uint8Array, options: CallOptions): Promise<Uint8Array>;
  /** Opens a stream to a healthy endpoint. Never throws: failures reach `closed`. */
  stream(path: string, events: StreamEvents, options?: StreamOptions): ShardStream;
  /** Ends all connections; calls in flight fail with UNAVAILABLE, writes that may have arrived saying so. */
  close(): void;
}
