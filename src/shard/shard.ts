import type { StatusError } from "../status/error.js";
import type { Caller, CallMetadata } from "./caller.js";

export interface CallOptions {
  /**
   * True for a call that may be sent again when its outcome is unknown, such as a read or a keep-alive. False for a
   * write, which is sent again only if it certainly never reached an etcd.
   */
  readonly idempotent: boolean;
  /** Gives up a call that is not idempotent (`AbandonedError`) when its endpoint is silent and another answers. */
  readonly abandonSilent?: boolean;
  /** True if a member that lags may answer, as for a serializable read. The answer's revision then proves nothing. */
  readonly mayLag?: boolean;
  /** Milliseconds since the epoch. Default: now plus the shard's request timeout. */
  readonly deadline?: number | undefined;
  /** Request metadata to add, such as `hasleader`. */
  readonly metadata?: CallMetadata | undefined;
  /** The client's call that this one is made for. If this one is slow, it is recorded there. */
  readonly origin?: Origin | undefined;
  /** The caller whose token the call carries. Default: the proxy itself, with its own credentials. */
  readonly caller?: Caller | undefined;
}

/** The caller of a stream, and metadata to add. */
export type StreamOptions = Pick<CallOptions, "caller" | "metadata">;

/** A client's call that shard calls are made for. */
export interface Origin {
  /** The slowest of its shard calls, if any took long. Set by the shard client. */
  slowest?: SlowCall | undefined;
}

export interface SlowCall {
  readonly shard: string;
  /** The endpoint's label; undefined if none could be reached. */
  readonly endpoint: string | undefined;
  readonly path: string;
  readonly ms: number;
  /** Number of times it was sent. */
  readonly attempts: number;
}

export type Done = (error: StatusError | undefined, response: Uint8Array) => void;

/** A bidirectional stream to one endpoint of a shard. It is not reopened when it ends. */
export interface ShardStream {
  /** Sends a message. `last` ends the request: a method that takes one message may wait for that. */
  send(message: Uint8Array, last?: boolean): void;
  /** Pauses delivery of messages, as backpressure towards the shard. */
  pause(): void;
  /** Resumes delivery of messages. */
  resume(): void;
  /** Ends the stream. No more events are delivered. */
  cancel(): void;
}

export interface StreamEvents {
  message(message: Uint8Array): void;
  /** Called once, when the stream has ended for any reason but `cancel()`. */
  closed(error: StatusError): void;
}

/** One backend etcd cluster. It connects lazily, fails over between its endpoints, and names itself in errors. */
export interface Shard {
  /** Position in the configured order; -1 for a timeline host that is not a shard. */
  readonly index: number;
  readonly name: string;
  /** Makes a unary call. Calls `done` exactly once, unless the returned function cancels the call first. */
  unary(path: string, request: Uint8Array, options: CallOptions, done: Done): () => void;
  /** Like `unary`, but returns a promise, for calls off the hot path. Rejects with `StatusError`. */
  call(path: string, request: Uint8Array, options: CallOptions): Promise<Uint8Array>;
  /** Opens a stream to a healthy endpoint. Never throws: failures reach `closed`. */
  stream(path: string, events: StreamEvents, options?: StreamOptions): ShardStream;
  /** Closes all connections. Calls in flight fail with UNAVAILABLE, whose text says if a write may have taken effect. */
  close(): void;
}
