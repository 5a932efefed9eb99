import type { Caller } from "../shard/caller.js";
import type { ShardClient } from "../shard/client.js";
import { type Credentials, Login, type LoginCounts } from "./login.js";

/** A user of the shards, logged in with one password: what all of their tokens lead to. */
export class Session implements Caller {
  private readonly logins: readonly Login[];

  constructor(
    readonly credentials: Credentials,
    shards: readonly ShardClient[],
    counts: LoginCounts,
  ) {
    // A shard that does not let the user in hears a bad token: the password has changed, or the user is gone.
    this.logins = shards.map((shard) => new Login(shard, credentials, counts));
  }

  access(shard: number): Login {
    return this.logins[shard]!;
  }
}
