import type { ShardMap } from "../routing/map.js";

/** The configuration after validation, with every default filled in. Field names are those of the file. */
export interface Config {
  /** `host:port` each, at least one; port 0 lets the system choose. */
  readonly listen: readonly string[];
  /**
   * Client URLs of all proxies of this store, one each, as MemberList shows them. Undefined: this proxy is the
   * only one, with the addresses that it listens on.
   */
  readonly advertise: readonly string[] | undefined;
  /** TLS on the listen addresses; undefined: none. */
  readonly tls: ListenTlsConfig | undefined;
  /** Processes that share the listen addresses, each a full proxy; 1 to 64. */
  readonly workers: number;
  /** At least one, at most 255; the order is the one of shard indices. */
  readonly shards: readonly ShardConfig[];
  readonly timeline: TimelineConfig;
  /** Names, weights and rules: what `createRouter` and `fingerprint` take. */
  readonly map: ShardMap;
  readonly auth: AuthConfig;
  readonly limits: LimitsConfig;
  /** Whether the header of a linearizable answer covers every revision acknowledged before the call, through whichever proxy. */
  readonly reads: (typeof readModes)[number];
  readonly http2: Http2Config;
  readonly watch: WatchConfig;
  readonly http: HttpConfig;
  /** What carries gRPC on both sides: our own HTTP/2, or the library. */
  readonly transport: (typeof transports)[number];
  readonly log: LogConfig;
  readonly metrics: MetricsConfig;
  readonly shutdown: ShutdownConfig;
  /** Undefined: no tracing. */
  readonly tracing: TracingConfig | undefined;
}

export const readModes = ["linearizable", "relaxed"] as const;

export const transports = ["native", "grpc-js"] as const;

export interface ShardConfig {
  readonly name: string;
  /** `host:port` each (IPv6 in brackets), at least one; `https://` before it where TLS is spoken. */
  readonly endpoints: readonly string[];
  readonly weight: number;
  /** For the endpoints that begin with `https://`; undefined when none does. */
  readonly tls?: ShardTlsConfig;
  /** The proxy's user there; undefined: the one of `AuthConfig`. */
  readonly auth?: CredentialsConfig;
}

/** Where the timeline log is kept: on a shard (by index), or on an etcd cluster of its own. */
export type TimelineConfig =
  | { readonly kind: "shard"; readonly shard: number }
  | {
      readonly kind: "dedicated";
      readonly endpoints: readonly string[];
      /** For the endpoints that begin with `https://`; undefined when none does. */
      readonly tls?: ShardTlsConfig;
      /** The proxy's user there; undefined: the one of `AuthConfig`. */
      readonly auth?: CredentialsConfig;
    };

/** A secret, or where it is: a file's content without the line end, or an environment variable. */
export type SecretConfig =
  | { readonly kind: "value"; readonly value: string }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "env"; readonly name: string };

/** A user of an etcd, whose role must be root. */
export interface CredentialsConfig {
  readonly user: string;
  readonly password: SecretConfig;
}

export interface AuthConfig {
  /** The proxy's user on the shards and the timeline host. Undefined: they have authentication off. */
  readonly own: CredentialsConfig | undefined;
  /** What clients' tokens are sealed with, the same for all proxies; undefined: a key kept on the timeline host. */
  readonly tokenKey: SecretConfig | undefined;
  /** How long a client's token is good after it was issued, or after it was last used at a proxy, seconds. */
  readonly tokenTtlSeconds: number;
}

export interface ListenTlsConfig {
  readonly certFile: string;
  readonly keyFile: string;
  /** When given, clients have to show a certificate of one of its authorities. */
  readonly clientCaFile?: string | undefined;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  /** OpenSSL's names, most wanted first; undefined: Node's default. */
  readonly ciphers?: readonly string[] | undefined;
}

/** How a cluster is reached over TLS. */
export interface ShardTlsConfig {
  /** Undefined: the authorities that the system trusts. */
  readonly caFile?: string | undefined;
  /** Both or none. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** What the endpoints' certificates are for; undefined: the host of each. */
  readonly serverName?: string | undefined;
  readonly insecureSkipVerify?: boolean | undefined;
}

/** Bounds on clients' HTTP/2 connections. */
export interface Http2Config {
  /** Streams that one connection may have open, as etcd's `--max-concurrent-streams`. */
  readonly maxStreams: number;
  /** Silence after which a client is asked whether it is there, milliseconds, as etcd's `--grpc-keepalive-interval`. */
  readonly keepaliveIntervalMs: number;
  /** How long it may take to answer, milliseconds, as etcd's `--grpc-keepalive-timeout`. */
  readonly keepaliveTimeoutMs: number;
}

export interface LimitsConfig {
  /** Largest client request in bytes, as etcd's `--max-request-bytes`. */
  readonly maxRequestBytes: number;
  /** Most operations in one branch of a transaction, as etcd's `--max-txn-ops`. */
  readonly maxTxnOps: number;
  /** How long a request to a shard may take, in milliseconds, unless the client's deadline is earlier. */
  readonly requestTimeoutMs: number;
  /** How long a request waits for a connection to its shard, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Clients' connections open at the same time, on all listen addresses together. */
  readonly maxConnections: number;
}

export interface WatchConfig {
  /** Bytes of recent events kept for watchers that start in the recent past. */
  readonly historyBytes: number;
  /** Bytes that may be queued for one client stream before it falls back to history. */
  readonly streamBufferBytes: number;
  /** Time without events after which a watcher that asked for it gets a progress notification, in milliseconds. */
  readonly progressNotifyMs: number;
}

/** Who may use HTTP/1.1, as etcd's `--cors` and `--host-whitelist`. */
export interface HttpConfig {
  /** Origins whose web pages may read answers; `*` means all, none means none. */
  readonly cors: readonly string[];
  /** Names under which the proxy may be asked without TLS; `*`, or none, means all. */
  readonly hosts: readonly string[];
}

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

export interface LogConfig {
  readonly level: (typeof logLevels)[number];
  /** A unary call of a client that takes longer is logged, milliseconds. */
  readonly slowRequestMs: number;
}

export interface MetricsConfig {
  /** `host:port` of an HTTP port that serves `/metrics` besides the listen ports, as etcd's `--listen-metrics-urls`. */
  readonly listen: string | undefined;
}

export interface ShutdownConfig {
  /** How long calls under way may take to finish when the proxy is told to stop, milliseconds. */
  readonly graceMs: number;
}

export interface TracingConfig {
  /** Where spans are sent, in OTLP over HTTP: the URL of the traces, e.g. `http://127.0.0.1:4318/v1/traces`. */
  readonly endpoint: string;
  /** Share of calls without a trace of the client's that are traced, 0 to 1. A client's own decision counts. */
  readonly sampleRatio: number;
  readonly serviceName: string;
}
