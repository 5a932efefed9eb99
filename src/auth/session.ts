import type { Caller } from "../shard/caller.js";
import type { ShardClient } from "../shard/client.js";
import { etcd } from "../status/etcd.js";
import { type Credentials, Login, type LoginCounts } from "./login.js";

/** A user of the shards, logged in with one password: what all of their tokens lead to. */
export class Session implements Caller {
  private readonly logins: readonly Login[];

  constructor(
    readonly credentials: Credentials,
    shards: readonly ShardClient[],
    counts: LoginCounts,
  ) {
    // Nobody is told more than that the token is no good: the password has changed, or the user is gone.
    this.logins = shards.map((shard) => new Login(shard, credentials, counts, () => etcd.invalidAuthToken()));
  }

  access(shard: number): Login {
    return this.logins[shard]!;
  }
}
