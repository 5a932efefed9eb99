/** Bounds on a connection that operators set. */
export interface Http2Settings {
  /** Streams that may be open at the same time. */
  readonly maxStreams: number;
  /** Silence after which a client is asked whether it is still there, and how long it may take to answer, ms. */
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
}

/** Pings as etcd's by default: `--grpc-keepalive-interval` and `-timeout`. */
export const HTTP2_DEFAULTS: Http2Settings = {
  maxStreams: 10_000,
  pingIntervalMs: 2 * 60 * 60 * 1000,
  pingTimeoutMs: 20_000,
};
