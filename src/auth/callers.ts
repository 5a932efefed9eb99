import { createHmac, randomBytes } from "node:crypto";
import type { Metadata } from "../rpc/call.js";
import type { Caller } from "../shard/caller.js";
import type { ShardClient } from "../shard/client.js";
import { BAD_TOKEN, type LoginCounts, NO_TOKEN } from "./login.js";
import { fixedAccess } from "./own.js";
import { Recent } from "./recent.js";
import type { Seal } from "./seal.js";
import { Session } from "./session.js";

/** Tokens that are remembered, so that they need not be decrypted at each request, and users; at most twice as many. */
export const MAX_TOKENS = 16_384;
export const MAX_SESSIONS = 4_096;

/** Calls without a token. etcd lets some through; to others it says that the user name is empty. */
const ANONYMOUS: Caller = same(NO_TOKEN);
/** Calls with a token that is none: etcd itself says so, or ignores it where authentication is off. */
const UNKNOWN: Caller = same(BAD_TOKEN);

function same(metadata: Readonly<Record<string, string>>): Caller {
  const access = fixedAccess(metadata);
  return { access: () => access };
}

interface Known {
  readonly session: Session;
  /** Milliseconds since the epoch; moves on when the token is used. */
  goodUntil: number;
}

/** Tells who is calling, from the token in a call's metadata. */
export class Callers {
  private readonly tokens = new Recent<Known>(MAX_TOKENS);
  private readonly sessions = new Recent<Session>(MAX_SESSIONS);
  /** Passwords are not to be had from the keys of a map. */
  private readonly secret = randomBytes(32);

  constructor(
    private readonly seal: Seal,
    private readonly shards: readonly ShardClient[],
    private readonly counts: LoginCounts,
    private readonly tokenTtlMs: number,
  ) {}

  /** Never throws. etcd has two names for the token, and takes the first value of the first one. */
  of(metadata: Metadata): Caller {
    const token = metadata.get("token") ?? metadata.get("authorization");
    return token === undefined ? ANONYMOUS : this.ofToken(token);
  }

  private ofToken(token: string): Caller {
    const now = Date.now();
    const known = this.tokens.get(token) ?? this.read(token);
    if (known === undefined || known.goodUntil < now) return UNKNOWN;
    known.goodUntil = Math.max(known.goodUntil, now + this.tokenTtlMs);
    return known.session;
  }

  private read(token: string): Known | undefined {
    const sealed = this.seal.open(token);
    if (sealed === undefined) return undefined;
    const { user, password } = sealed;
    const known = {
      session: this.find(user, password) ?? this.add(user, password),
      goodUntil: sealed.issuedAt + this.tokenTtlMs,
    };
    this.tokens.set(token, known);
    return known;
  }

  /** How many are remembered, for metrics. */
  get remembered(): { readonly tokens: number; readonly users: number } {
    return { tokens: this.tokens.count, users: this.sessions.count };
  }

  /** The session of a user and password that is remembered. */
  find(user: string, password: string): Session | undefined {
    return this.sessions.get(this.keyOf(user, password));
  }

  /** Remembers a session of a user whom the shards have let in; they have the last word at each request. */
  add(user: string, password: string): Session {
    const session = new Session({ user, password: () => password }, this.shards, this.counts);
    this.sessions.set(this.keyOf(user, password), session);
    return session;
  }

  /** A token for a session. */
  tokenFor({ credentials }: Session): string {
    return this.seal.seal({ user: credentials.user, password: credentials.password(), issuedAt: Date.now() });
  }

  /** The same for the same user and password alone; tells nothing of either. */
  keyOf(user: string, password: string): string {
    return createHmac("sha256", this.secret).update(`${user.length}:${user}${password}`).digest("base64");
  }
}
