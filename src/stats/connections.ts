/** Why clients' connections were refused or ended by us. */
export const REFUSALS = [
  /** There were as many connections as may be. */
  "limit",
  /** There were as many as the process may have file handles for. */
  "handles",
  /** The client did not say in time what it speaks. */
  "silent",
  /** The TLS handshake failed. */
  "tls",
  /** Streams begun and reset, one after the other. */
  "resets",
  /** Frames that carry nothing. */
  "empty_frames",
  /** A header block without end. */
  "header_block",
  /** Answers asked for and not read. */
  "unread_answers",
  /** Pings not answered: nobody is there any more. */
  "unresponsive",
  /** Any other breach of HTTP/2. */
  "protocol",
  /** What is neither HTTP/2 nor HTTP/1.1. */
  "malformed",
  /** HTTP/1.1 requests sent on and on while an earlier one had no answer. */
  "pipelined",
] as const;

export type Refusal = (typeof REFUSALS)[number];
export type Protocol = "http1" | "http2";

/** Bytes that all connections hold together, against one bound. */
export class SharedBytes {
  bytes = 0;
  /** Connections among which they are shared. */
  connections = 0;

  /** Whether the bound is passed with `more` bytes, and a connection that holds `own` then has more than its fair share. */
  isExceeded(bound: number, own: number, more = 0): boolean {
    return this.bytes + more > bound && own * this.connections > bound;
  }
}

/** Counters of clients' connections. */
export class ConnectionStats {
  /** Connections that are open, of whatever kind. */
  open = 0;
  /** Of those, the ones that have shown what they speak. */
  readonly openBy: Record<Protocol, number> = { http1: 0, http2: 0 };
  /** All that ever came. */
  accepted = 0;
  readonly acceptedBy: Record<Protocol, number> = { http1: 0, http2: 0 };
  readonly refused = Object.fromEntries(REFUSALS.map((each) => [each, 0])) as Record<Refusal, number>;
  /** Answers and events that wait for clients to read them. */
  readonly queued = new SharedBytes();
  /** Requests that have come in part, wait, or are in progress. */
  readonly requests = new SharedBytes();
  /** Streams refused because their connection had as many as it may have. */
  refusedStreams = 0;
}
