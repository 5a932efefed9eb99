import { byIndex } from "../shard/byIndex.js";
import type { Caller } from "../shard/caller.js";
import type { ShardClient } from "../shard/client.js";
import { type Credentials, Login, type LoginCounts } from "./login.js";

/** A user and password with their logins at the shards. All tokens of that user and password lead to it. */
export class Session implements Caller {
  private readonly logins: readonly Login[];

  constructor(
    readonly credentials: Credentials,
    shards: readonly ShardClient[],
    counts: LoginCounts,
  ) {
    // Without a custom error, a shard that does not let the user in gets an invalid token and refuses the call itself.
    this.logins = shards.map((shard) => new Login(shard, credentials, counts));
  }

  access(shard: number): Login {
    return byIndex(this.logins, shard);
  }
}
