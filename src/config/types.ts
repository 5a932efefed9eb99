import type { ShardMap } from "../routing/map.js";
import type { ReadOnly } from "./fields.js";
import type { Shape } from "./schema.js";
import type { TenantConfig } from "./tenants.js";
import type { ListenTlsConfig, ShardTlsConfig } from "./tls.js";

/** Sections that `resolve` converts. */
type Derived =
  | "advertise"
  | "tls"
  | "workers"
  | "shards"
  | "timeline"
  | "routing"
  | "auth"
  | "tenants"
  | "console"
  | "tracing";

/**
 * A valid configuration with all defaults filled in. `docs/configuration.md` explains the fields, which have the names
 * of the file. Declared here are the fields that differ from those of the file.
 */
export interface Config extends ReadOnly<Omit<Shape, Derived>> {
  /** Undefined: this proxy is the only one, and its URLs are its `listen` addresses. */
  readonly advertise: readonly string[] | undefined;
  /** Undefined: no TLS on the listen addresses. */
  readonly tls: ListenTlsConfig | undefined;
  /** The number, also for `auto`. */
  readonly workers: number;
  /** In the order of the file. A new store numbers its shards like this; a store with plans has its own indices. */
  readonly shards: readonly ShardConfig[];
  readonly timeline: TimelineConfig;
  /** Names, weights and rules, for `createRouter` and `fingerprint`. */
  readonly map: ShardMap;
  readonly auth: AuthConfig;
  readonly tenants: readonly TenantConfig[];
  readonly console: ConsoleConfig;
  /** Undefined: no tracing. */
  readonly tracing: ReadOnly<NonNullable<Shape["tracing"]>> | undefined;
}

/** The gRPC implementation, for clients and for shards. */
export type Transport = Config["transport"];

/** How to connect to one cluster: its own settings, merged with the sections for all clusters. */
export interface ClusterAccess {
  /** `host:port` each (IPv6 in brackets), at least one; with `https://` in front for TLS. */
  readonly endpoints: readonly string[];
  /** For the endpoints that begin with `https://`; absent if there are none. */
  readonly tls?: ShardTlsConfig;
  /** The proxy's user there; absent: the one of `AuthConfig`. */
  readonly auth?: CredentialsConfig;
}

export interface ShardConfig
  extends ReadOnly<Pick<Shape["shards"][number], "name" | "weight">>,
    ClusterAccess {}

/** The timeline host: a shard (by index), or an etcd cluster that is not a shard. */
export type TimelineConfig =
  | { readonly kind: "shard"; readonly shard: number }
  | ({ readonly kind: "dedicated" } & ClusterAccess);

/** A secret, or its source: a file's content without the final line break, or an environment variable. */
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
  /** The key that encrypts clients' tokens; undefined: a key kept on the timeline host. */
  readonly tokenKey: SecretConfig | undefined;
}

export interface ConsoleConfig extends ReadOnly<Pick<Shape["console"], "enabled">> {
  /** Undefined: the console has no password of its own. */
  readonly password: SecretConfig | undefined;
}
