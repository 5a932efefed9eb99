import { createHmac, randomBytes } from "node:crypto";
import type { Metadata } from "../rpc/call.js";
import type { Caller } from "../shard/caller.js";
import type { ShardClient } from "../shard/client.js";
import type { ShardSet } from "../shard/shardSet.js";
import { BAD_TOKEN, type LoginCounts, NO_TOKEN } from "./login.js";
import { fixedAccess } from "./proxyCaller.js";
import { RecentMap } from "./recentMap.js";
import type { Seal } from "./seal.js";
import { Session } from "./session.js";

/** Tokens and users to remember, so that a request need not decrypt its token. At most twice as many are kept. */
export const MAX_TOKENS = 16_384;
export const MAX_SESSIONS = 4_096;

/** The caller of calls without a token. etcd accepts some of them, and refuses others for an empty user name. */
const ANONYMOUS: Caller = same(NO_TOKEN);
/** The caller of calls with an invalid token. The shard refuses it, or ignores it while authentication is off. */
const UNKNOWN: Caller = same(BAD_TOKEN);

function same(metadata: Readonly<Record<string, string>>): Caller {
  const access = fixedAccess(metadata);
  return { access: () => access };
}

interface Known {
  readonly session: Session;
  /** When the token expires, in milliseconds since the epoch. Each use extends it. */
  expiresAt: number;
}

/** Finds the caller of a call by the token in its metadata. */
export class Callers {
  private readonly tokens = new RecentMap<Known>(MAX_TOKENS);
  private readonly sessions = new RecentMap<Session>(MAX_SESSIONS);
  /** Key of the HMACs in `keyOf`, so that the map's keys do not reveal passwords. */
  private readonly secret = randomBytes(32);

  constructor(
    private readonly seal: Seal,
    private readonly shards: ShardSet<ShardClient>,
    private readonly counts: LoginCounts,
    private readonly tokenTtlMs: number,
  ) {}

  /** The caller of a call. Never throws. As in etcd, the token has two names, and the first value of the first one counts. */
  of(metadata: Metadata): Caller {
    const token = metadata.get("token") ?? metadata.get("authorization");
    return token === undefined ? ANONYMOUS : this.ofToken(token);
  }

  private ofToken(token: string): Caller {
    const now = Date.now();
    const known = this.tokens.get(token) ?? this.read(token);
    if (known === undefined || known.expiresAt < now) return UNKNOWN;
    known.expiresAt = Math.max(known.expiresAt, now + this.tokenTtlMs);
    return known.session;
  }

  private read(token: string): Known | undefined {
    const sealed = this.seal.open(token);
    if (sealed === undefined) return undefined;
    const { user, password } = sealed;
    const known = {
      session: this.find(user, password) ?? this.add(user, password),
      expiresAt: sealed.issuedAt + this.tokenTtlMs,
    };
    this.tokens.set(token, known);
    return known;
  }

  /** Number of entries, for metrics. */
  get remembered(): { readonly tokens: number; readonly users: number } {
    return { tokens: this.tokens.count, users: this.sessions.count };
  }

  /** The session of a user and password, if it is remembered. */
  find(user: string, password: string): Session | undefined {
    return this.sessions.get(this.keyOf(user, password));
  }

  /** Remembers a session of a user that the shards have let in. They check the user again at each request. */
  add(user: string, password: string): Session {
    const session = new Session({ user, password: () => password }, this.shards, this.counts);
    this.sessions.set(this.keyOf(user, password), session);
    return session;
  }

  /** A token for a session. */
  tokenFor({ credentials }: Session): string {
    return this.seal.seal({ user: credentials.user, password: credentials.password(), issuedAt: Date.now() });
  }

  /** A key that is unique for a user and password, and reveals neither. */
  keyOf(user: string, password: string): string {
    return createHmac("sha256", this.secret).update(`${user.length}:${user}${password}`).digest("base64");
  }
}
