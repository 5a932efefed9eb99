import type { Caller } from "../shard/caller.js";
import type { ShardClient } from "../shard/client.js";
import type { ShardSet } from "../shard/shardSet.js";
import { type Credentials, Login, type LoginCounts } from "./login.js";

/** A user and password with their logins at the shards. All tokens of that user and password lead to it. */
export class Session implements Caller {
  /** By shard. */
  private readonly logins: Login[] = [];

  constructor(
    readonly credentials: Credentials,
    private readonly shards: ShardSet<ShardClient>,
    private readonly counts: LoginCounts,
  ) {}

  get user(): string {
    return this.credentials.user;
  }

  access(index: number): Login {
    const shard = this.shards.at(index);
    const known = this.logins[index];
    if (known?.shard === shard) return known;
    // Without a custom error, a shard that does not let the user in gets an invalid token and refuses the call itself.
    const login = new Login(shard, this.credentials, this.counts);
    this.logins[index] = login;
    return login;
  }
}
