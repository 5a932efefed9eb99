import type { ShardMap } from "../routing/map.js";
import type { ReadOnly } from "./fields.js";
import type { Shape } from "./schema.js";
import type { ListenTlsConfig, ShardTlsConfig } from "./tls.js";

/** What `resolve` makes of these sections of the file is not what they say. */
type Derived =
  | "advertise"
  | "tls"
  | "shardTls"
  | "workers"
  | "shards"
  | "timeline"
  | "routing"
  | "auth"
  | "tracing";

/**
 * The configuration after validation, with every default filled in. Field names are those of the file, and
 * `docs/configuration.md` explains them: what follows is where a field differs from the file's.
 */
export interface Config extends ReadOnly<Omit<Shape, Derived>> {
  /** Undefined: this proxy is the only one, with the addresses that it listens on. */
  readonly advertise: readonly string[] | undefined;
  /** Undefined: no TLS on the listen addresses. */
  readonly tls: ListenTlsConfig | undefined;
  /** A number, `auto` being resolved. */
  readonly workers: number;
  /** In the order of shard indices. */
  readonly shards: readonly ShardConfig[];
  readonly timeline: TimelineConfig;
  /** Names, weights and rules: what `createRouter` and `fingerprint` take. */
  readonly map: ShardMap;
  readonly auth: AuthConfig;
  /** Undefined: no tracing. */
  readonly tracing: ReadOnly<NonNullable<Shape["tracing"]>> | undefined;
}

/** What carries gRPC on both sides. */
export type Transport = Config["transport"];

/** What one cluster has for itself, with what it takes from the sections for all clusters. */
export interface ClusterAccess {
  /** `host:port` each (IPv6 in brackets), at least one; `https://` before it where TLS is spoken. */
  readonly endpoints: readonly string[];
  /** For the endpoints that begin with `https://`; left out when none does. */
  readonly tls?: ShardTlsConfig;
  /** The proxy's user there; left out: the one of `AuthConfig`. */
  readonly auth?: CredentialsConfig;
}

export interface ShardConfig
  extends ReadOnly<Pick<Shape["shards"][number], "name" | "weight">>,
    ClusterAccess {}

/** Where the timeline log is kept: on a shard (by index), or on an etcd cluster that is not a shard. */
export type TimelineConfig =
  | { readonly kind: "shard"; readonly shard: number }
  | ({ readonly kind: "dedicated" } & ClusterAccess);

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

export interface AuthConfig extends ReadOnly<Pick<Shape["auth"], "tokenTtlSeconds">> {
  /** The proxy's user on the shards and the timeline host. Undefined: they have authentication off. */
  readonly own: CredentialsConfig | undefined;
  /** What clients' tokens are sealed with; undefined: a key kept on the timeline host. */
  readonly tokenKey: SecretConfig | undefined;
}
