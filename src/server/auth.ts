import type { Credentials, LoginCounts } from "../auth/login.js";
import { OwnCaller } from "../auth/own.js";
import { readSecret } from "../config/secrets.js";
import type { Config, CredentialsConfig } from "../config/types.js";
import { problemOf } from "../shard/access.js";
import type { ShardClient } from "../shard/client.js";
import { Code, StatusError } from "../status/error.js";

/** What logs users in. */
export interface StoreAuth {
  /** The shards without any access of the proxy's own, in order. */
  readonly raw: readonly ShardClient[];
  readonly own: OwnCaller;
  readonly counts: LoginCounts;
}

/** The proxy's users; undefined where it has none. */
export function openAuth(
  config: Config,
  raw: readonly ShardClient[],
  host: ShardClient,
): StoreAuth | undefined {
  const { auth, shards, timeline } = config;
  const users = new Map(shards.map((shard, i) => [raw[i], shard.auth ?? auth.own]));
  if (timeline.kind === "dedicated") users.set(host, timeline.auth ?? auth.own);
  if ([...users.values()].every((user) => user === undefined)) return undefined;
  const counts = { authenticates: 0 };
  const own = new OwnCaller(counts);
  for (const [client, user] of users) own.add(client, user && credentialsOf(user, client.name));
  return { raw, own, counts };
}

function credentialsOf({ user, password }: CredentialsConfig, name: string): Credentials {
  return {
    user,
    password: () => {
      try {
        return readSecret(password);
      } catch (reason) {
        const text = `the password of the proxy's user "${user}" for "${name}": ${(reason as Error).message}`;
        throw new StatusError(Code.FAILED_PRECONDITION, text);
      }
    },
  };
}

/** A proxy without credentials cannot serve shards that ask for them. */
export function withoutCredentials(reason: unknown): unknown {
  const error = StatusError.from(reason);
  if (problemOf(error.message) !== "missing") return reason;
  return new StatusError(
    Code.FAILED_PRECONDITION,
    "the shards have authentication on, but the proxy has no user: give it one in auth, see shards.yaml",
    { cause: reason },
  );
}
