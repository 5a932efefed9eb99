import type { Caller } from "../shard/caller.js";
import type { Origin } from "../shard/shard.js";
import type { StatusError } from "../status/error.js";

/** Request metadata (gRPC headers). Names are lower case. */
export interface Metadata {
  /** First value of a text header, or undefined. */
  get(name: string): string | undefined;
}

/** What a handler knows of one call, whatever transport carries it. */
export interface Call extends Origin {
  /** Full method, e.g. `/etcdserverpb.KV/Range`. */
  readonly path: string;
  readonly metadata: Metadata;
  /**
   * Whom the call is made for, from the token in its metadata. Set before the handler runs where the proxy has
   * credentials of its own; else undefined, and nobody asks who is calling.
   */
  caller?: Caller | undefined;
  /** Milliseconds since the epoch; `Infinity` when the client set none. */
  readonly deadline: number;
  /** True once the client has cancelled, its deadline has passed, or its connection is gone. */
  readonly cancelled: boolean;
  /** The trace that it is part of, 32 hexadecimal digits; only where it is recorded. */
  trace?: string | undefined;
  /** Calls `listener` once when the call is cancelled (at once if it already is). Returns a function that takes it back. */
  onCancel(listener: () => void): () => void;
}

export type Reply = (error: StatusError | undefined, response?: Uint8Array) => void;

/**
 * One unary method. It must call `reply` exactly once (never throws); a callback and not a promise, so
 * that a transport need not pay for one per request. `fromAsync` adapts an async function.
 */
export type UnaryHandler = (call: Call, request: Uint8Array, reply: Reply) => void;

/** What one client's connection holds, over all its streams. */
export interface Usage {
  /** What its watches cost, and its watch requests that wait, bytes. */
  watchBytes: number;
  requestBytes: number;
}

/** The server's end of a bidirectional (or server) stream. */
export interface ServerStream extends Call {
  /** Messages in order. Set once, in the handler's synchronous part. */
  onMessage(listener: (message: Uint8Array) => void): void;
  /** The client half-closed: no more messages. */
  onEnd(listener: () => void): void;
  /**
   * Queues one message, given in parts that are written one after the other (parts may be shared between
   * streams and must never be changed afterwards). False when more than the transport's high-water mark is
   * queued: stop until `onDrain`. A message sent after `end` or cancellation is dropped.
   */
  send(parts: readonly Uint8Array[]): boolean;
  /** Bytes queued by `send` and not yet taken by the transport. */
  readonly queuedBytes: number;
  onDrain(listener: () => void): void;
  /** True while the client, or all clients together, leave too much unread: nothing is to be queued that can be had later. */
  readonly isOverfull?: boolean;
  /** Absent where connections are not known; the stream counts alone then. */
  readonly usage?: Usage | undefined;
  /** Stops and restarts delivery of messages (flow control towards the client). */
  pause(): void;
  resume(): void;
  /** Ends with OK, or with an error. Later calls do nothing. */
  end(error?: StatusError): void;
}

export type StreamHandler = (stream: ServerStream) => void;

/** What the services offer to a transport: full method path → handler. */
export interface Handlers {
  readonly unary: ReadonlyMap<string, UnaryHandler>;
  readonly stream: ReadonlyMap<string, StreamHandler>;
}
