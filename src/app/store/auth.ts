import { Authenticator } from "../../auth/authenticator.js";
import { Callers } from "../../auth/callers.js";
import type { Credentials, LoginCounts } from "../../auth/login.js";
import { ProxyCaller } from "../../auth/proxyCaller.js";
import { Seal } from "../../auth/seal.js";
import { loadTokenKey } from "../../auth/tokenKey.js";
import { readSecret } from "../../config/secrets.js";
import type { AuthConfig, Config, CredentialsConfig, SecretConfig } from "../../config/types.js";
import { problemOf, withAccess } from "../../shard/access.js";
import type { ShardClient } from "../../shard/client.js";
import type { Shard } from "../../shard/shard.js";
import type { ShardSet } from "../../shard/shardSet.js";
import { Code, StatusError } from "../../status/error.js";
import type { ShardPlace } from "./places.js";

/** The proxy's users, and the logins of clients. */
export interface StoreAuth {
  readonly own: ProxyCaller;
  readonly callers: Callers;
  readonly authenticator: Authenticator;
  readonly counts: LoginCounts;
}

/** The proxy's users, and connections to the shards without credentials. */
export interface OwnUsers {
  readonly raw: ShardSet<ShardClient>;
  readonly own: ProxyCaller;
  readonly counts: LoginCounts;
  /** Adds the proxy's user on a timeline host that is not a shard, to which the log has moved. */
  addHost(client: ShardClient): void;
}

/** Reads the key of clients' tokens, by default from the timeline host. `store` is the store's id. */
export async function openCallers(
  { raw, own, counts }: OwnUsers,
  { tokenKey, tokenTtlSeconds }: AuthConfig,
  host: Shard,
  store: string,
): Promise<StoreAuth> {
  const secret = tokenKey === undefined ? await loadTokenKey(host) : keyOf(tokenKey);
  const callers = new Callers(new Seal(secret, store), raw, counts, tokenTtlSeconds * 1_000);
  return { own, callers, authenticator: new Authenticator(callers, raw, counts), counts };
}

function keyOf(secret: SecretConfig): string {
  try {
    const key = readSecret(secret);
    if (key.length >= 16) return key;
    throw new Error("must be at least 16 characters");
  } catch (reason) {
    throw new StatusError(Code.FAILED_PRECONDITION, `auth.tokenKey: ${(reason as Error).message}`);
  }
}

/** The proxy's users; undefined if it has none. */
export function openOwnUsers(
  { auth, shards, timeline }: Config,
  places: ShardSet<ShardPlace>,
  raw: ShardSet<ShardClient>,
  host: ShardClient,
): OwnUsers | undefined {
  const dedicated = timeline.kind === "dedicated" ? [timeline] : [];
  const known = [...shards, ...dedicated].map((cluster) => cluster.auth ?? auth.own);
  if (known.every((user) => user === undefined)) return undefined;
  const counts = { authenticates: 0 };
  const own = new ProxyCaller(counts);
  const add = (client: ShardClient, user: CredentialsConfig | undefined) =>
    own.add(client, user && credentialsOf(user, client.name));
  raw.follow({ added: (client, index) => add(client, places.at(index).auth ?? auth.own) });
  for (const cluster of dedicated) add(host, cluster.auth ?? auth.own);
  const addHost = (client: ShardClient) => add(client, dedicated[0]?.auth ?? auth.own);
  return { raw, own, counts, addHost };
}

/** Makes the calls of a connection those of the proxy's user on that cluster, if it has one. */
export function asOwnUser(config: Config, client: ShardClient): ShardClient {
  const { auth, shards, timeline } = config;
  const cluster = client.index < 0 ? timeline : shards[client.index]!;
  const user = ("auth" in cluster ? cluster.auth : undefined) ?? auth.own;
  if (user === undefined) return client;
  const own = new ProxyCaller({ authenticates: 0 });
  own.add(client, credentialsOf(user, client.name));
  return withAccess(client, own);
}

function credentialsOf({ user, password }: CredentialsConfig, name: string): Credentials {
  return {
    user,
    password: () => {
      try {
        return readSecret(password);
      } catch (reason) {
        const text = `the password of the proxy's user "${user}" for "${name}" cannot be read`;
        throw new StatusError(Code.FAILED_PRECONDITION, text, { detail: (reason as Error).message });
      }
    },
  };
}

/** Explains the error of a shard that requires credentials to a proxy without a user. Returns other errors unchanged. */
export function withoutCredentials(reason: unknown): unknown {
  const error = StatusError.from(reason);
  if (problemOf(error.message) !== "missing") return reason;
  return new StatusError(
    Code.FAILED_PRECONDITION,
    "the shards have authentication on, but the proxy has no user: give it one (auth in shards.yaml)",
    { cause: reason },
  );
}
