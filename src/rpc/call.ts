import type { Caller } from "../shard/caller.js";
import type { Origin } from "../shard/shard.js";
import type { StatusError } from "../status/error.js";

/** Request metadata (gRPC headers). Names are lower case. */
export interface Metadata {
  /** The first value of a text header, or undefined. */
  get(name: string): string | undefined;
}

/** One call as a handler sees it, independent of the transport. */
export interface Call extends Origin {
  /** Full method, such as `/etcdserverpb.KV/Range`. */
  readonly path: string;
  readonly metadata: Metadata;
  /**
   * The identity that the call is made for, from the token in its metadata. It is set before the handler runs where the
   * proxy has a user. Otherwise it is undefined, and calls are not authenticated.
   */
  caller?: Caller | undefined;
  /** Milliseconds since the epoch, or `Infinity` when the client has set none. */
  readonly deadline: number;
  /** True once the client has cancelled, its deadline has passed, or its connection is gone. */
  readonly cancelled: boolean;
  /** The trace id, 32 hexadecimal digits. Only set for a trace that is recorded. */
  trace?: string | undefined;
  /** Calls `listener` once when the call is cancelled, or at once if it is already. Returns a function that removes it. */
  onCancel(listener: () => void): () => void;
  /** True while no other client is served. Undefined where that is not known. */
  readonly isAlone?: boolean | undefined;
  /**
   * Resolves when a call that takes long may go on: its client's long calls take turns while other clients are served. The turn
   * ends with the call. Resolves at once where calls take no turns.
   */
  longTurn?(): Promise<void>;
}

/** Ends a unary call with an error, or with a response. */
export type Reply = (error: StatusError | undefined, response?: Uint8Array) => void;

/**
 * One unary method. It must not throw, and must call `reply` exactly once. It is a callback so that a request costs no
 * promise. `fromAsync` adapts an async function.
 */
export type UnaryHandler = (call: Call, request: Uint8Array, reply: Reply) => void;

/** Memory that one client's connection uses, over all its streams. */
export interface Usage {
  /** Cost of its watches, in bytes. */
  watchBytes: number;
  /** Watch requests that wait, in bytes. */
  requestBytes: number;
  /** Address of the client, such as `10.0.0.1:50000`; undefined if it is not known. */
  readonly client?: string | undefined;
}

/** The server's end of a bidirectional or server stream. */
export interface ServerStream extends Call {
  /** Sets the listener for messages, which come in order. Once, in the handler's synchronous part. */
  onMessage(listener: (message: Uint8Array) => void): void;
  /** Sets the listener for the client's half-close, after which no message comes. */
  onEnd(listener: () => void): void;
  /**
   * Queues one message, whose parts are written one after the other. Parts may be shared between streams, so they must
   * never be changed. Returns false when more than the transport's high-water mark is queued: stop until `onDrain`. A
   * message that is sent after `end` or cancellation is dropped.
   */
  send(parts: readonly Uint8Array[]): boolean;
  /** Bytes queued by `send` that the transport has not taken yet. */
  readonly queuedBytes: number;
  onDrain(listener: () => void): void;
  /** True while this client, or all clients together, leave too much unread. Then queue nothing that can be sent later. */
  readonly isOverfull?: boolean;
  /** Absent where the transport does not know connections. The stream is counted alone then. */
  readonly usage?: Usage | undefined;
  /** Stops the delivery of messages until `resume`: flow control towards the client. */
  pause(): void;
  resume(): void;
  /** Ends the stream with OK, or with an error. Later calls do nothing. */
  end(error?: StatusError): void;
}

export type StreamHandler = (stream: ServerStream) => void;

/** The methods that a transport serves: full method → handler. */
export interface Handlers {
  readonly unary: ReadonlyMap<string, UnaryHandler>;
  readonly stream: ReadonlyMap<string, StreamHandler>;
}
