/** Why the proxy refused or closed a client's connection; labels of `braid_connections_refused_total`. */
export const REFUSALS = [
  /** The limit of connections was reached. */
  "limit",
  /** The process had no file descriptor left for it. */
  "handles",
  /** The client did not start to speak HTTP in time. */
  "silent",
  /** The TLS handshake failed. */
  "tls",
  /** Too many streams were opened and reset. */
  "resets",
  /** Too many frames that carry nothing. */
  "empty_frames",
  /** A header block was too large. */
  "header_block",
  /** The client did not read the answers it asked for. */
  "unread_answers",
  /** The client did not answer a ping. */
  "unresponsive",
  /** Any other violation of HTTP/2. */
  "protocol",
  /** The first bytes were neither HTTP/2 nor HTTP/1.1. */
  "malformed",
  /** HTTP/1.1 requests kept coming while an earlier one had no answer. */
  "pipelined",
] as const;

export type Refusal = (typeof REFUSALS)[number];
export type Protocol = "http1" | "http2";

/** Bytes that several connections hold together, compared with one bound. */
export class SharedBytes {
  bytes = 0;
  /** Connections that share the bound. */
  connections = 0;

  /**
   * Whether `more` bytes would exceed `bound`, for a connection that would then hold `own` bytes, more than its
   * fair share. A fair share is the bound divided by the number of connections.
   */
  isExceeded(bound: number, own: number, more = 0): boolean {
    return this.bytes + more > bound && own * this.connections > bound;
  }
}

/** Counters of clients' connections. */
export class ConnectionStats {
  /** Open connections of any kind. */
  open = 0;
  /** Open connections whose protocol is known. */
  readonly openBy: Record<Protocol, number> = { http1: 0, http2: 0 };
  /** All connections since the start. */
  accepted = 0;
  readonly acceptedBy: Record<Protocol, number> = { http1: 0, http2: 0 };
  readonly refused = Object.fromEntries(REFUSALS.map((each) => [each, 0])) as Record<Refusal, number>;
  /** Answers and events waiting for clients to read them. */
  readonly queued = new SharedBytes();
  /** Requests that are incomplete, waiting or in progress. */
  readonly requests = new SharedBytes();
  /** Streams refused because their connection was at its limit. */
  refusedStreams = 0;
}
