import type { Access, Caller, CallMetadata } from "../shard/caller.js";
import type { ShardClient } from "../shard/client.js";
import { describeShard } from "../shard/name.js";
import { Code, StatusError } from "../status/error.js";
import { type Credentials, Login, type LoginCounts, NO_TOKEN } from "./login.js";

/** The access of a caller whose metadata is what it is: whatever a shard says of it stands. */
export function fixedAccess(metadata: CallMetadata): Access {
  return { metadata, renew: async () => false };
}

/** The proxy itself, with its user on each shard and on a timeline host that is none. */
export class OwnCaller implements Caller {
  private readonly accesses = new Map<number, Access>();
  private readonly users = new Map<number, Credentials>();

  constructor(private readonly counts: LoginCounts) {}

  /** Makes the proxy's user on a shard known; without one its calls go there without a token. */
  add(shard: ShardClient, credentials: Credentials | undefined): void {
    if (credentials !== undefined) this.users.set(shard.index, credentials);
    this.accesses.set(
      shard.index,
      credentials === undefined ? fixedAccess(NO_TOKEN) : ownLogin(shard, credentials, this.counts),
    );
  }

  /** The proxy's user on a shard. */
  userOf(shard: number): string | undefined {
    return this.users.get(shard)?.user;
  }

  /** True for the user of the proxy on any shard. */
  isOwn(user: string): boolean {
    return [...this.users].some(([shard, own]) => shard >= 0 && own.user === user);
  }

  /** True when the proxy is configured with this password wherever it is this user. */
  isPassword(user: string, password: string): boolean {
    return [...this.users].every(
      ([shard, own]) => shard < 0 || own.user !== user || own.password() === password,
    );
  }

  /** True once some shard was found to have authentication on. */
  get isGuarded(): boolean {
    return [...this.accesses.values()].some(({ metadata }) => metadata?.token !== undefined);
  }

  access(shard: number): Access {
    return this.accesses.get(shard)!;
  }
}

function ownLogin(shard: ShardClient, credentials: Credentials, counts: LoginCounts): Login {
  const login: Login = new Login(shard, credentials, counts, (reason) => {
    // With credentials that never worked a start is in vain; those that did may do so again.
    const code = login.succeeded ? Code.UNAVAILABLE : Code.FAILED_PRECONDITION;
    const text = `${describeShard(shard)} refuses the proxy's own user "${credentials.user}": ${reason.message}`;
    return new StatusError(code, text, { cause: reason });
  });
  return login;
}
