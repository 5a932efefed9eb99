import type { Access, Caller, CallMetadata } from "../shard/caller.js";
import type { ShardClient } from "../shard/client.js";
import { describeShard } from "../shard/name.js";
import { Code, StatusError } from "../status/error.js";
import { type Credentials, Login, type LoginCounts, NO_TOKEN } from "./login.js";

/** The access of a caller with fixed metadata. A refusal by a shard is final. */
export function fixedAccess(metadata: CallMetadata): Access {
  return { metadata, renew: async () => false };
}

/** The proxy itself, as its user on each shard and on a dedicated timeline host. */
export class ProxyCaller implements Caller {
  private readonly accesses = new Map<number, Access>();
  private readonly users = new Map<number, Credentials>();

  constructor(private readonly counts: LoginCounts) {}

  /** Sets the proxy's user on a shard. Without credentials its calls carry no token there. */
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

  /** True for the proxy's user on any shard. */
  isOwn(user: string): boolean {
    return [...this.users].some(([shard, own]) => shard >= 0 && own.user === user);
  }

  /** True when the proxy is configured with this password on every shard where it has this user. */
  isPassword(user: string, password: string): boolean {
    return [...this.users].every(
      ([shard, own]) => shard < 0 || own.user !== user || own.password() === password,
    );
  }

  /** True once a shard was found to have authentication on. */
  get isGuarded(): boolean {
    return [...this.accesses.values()].some(({ metadata }) => metadata?.token !== undefined);
  }

  access(shard: number): Access {
    const access = this.accesses.get(shard);
    if (access === undefined) throw new RangeError(`no shard has index ${shard}`);
    return access;
  }
}

function ownLogin(shard: ShardClient, credentials: Credentials, counts: LoginCounts): Login {
  const login: Login = new Login(shard, credentials, counts, (reason) => {
    // Credentials that have worked before may work again. Others are a mistake in the configuration.
    const code = login.succeeded ? Code.UNAVAILABLE : Code.FAILED_PRECONDITION;
    const text = `${describeShard(shard)} refuses the proxy's own user "${credentials.user}": ${reason.message}`;
    return new StatusError(code, text, { cause: reason });
  });
  return login;
}
