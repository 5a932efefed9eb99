import { createHash, randomBytes } from "node:crypto";

/** Most sessions at a time. Another one ends the oldest. */
export const MAX_SESSIONS = 256;
/** A session ends after this time, in milliseconds, and after `IDLE_MS` without a request. */
const LIFETIME_MS = 12 * 3_600_000;
const IDLE_MS = 3_600_000;
const TOKEN_BYTES = 32;

/** What a session is for. */
export interface Identity {
  /** The store's user, and its token; undefined for the console's password. */
  readonly login: { readonly user: string; readonly token: string } | undefined;
}

interface Session {
  readonly identity: Identity;
  readonly since: number;
  usedAt: number;
}

/** The sessions of browsers. Only hashes of their tokens are kept. */
export class Sessions {
  /** In order of their beginning. */
  private readonly sessions = new Map<string, Session>();

  /** `now` is in milliseconds. */
  constructor(private readonly now: () => number) {}

  /** Begins a session, and returns its token. */
  begin(identity: Identity): string {
    for (const [id, session] of this.sessions) if (this.isOver(session)) this.sessions.delete(id);
    const oldest = this.sessions.keys().next().value;
    if (oldest !== undefined && this.sessions.size >= MAX_SESSIONS) this.sessions.delete(oldest);
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
    const now = this.now();
    this.sessions.set(hashOf(token), { identity, since: now, usedAt: now });
    return token;
  }

  /** What the session with this token is for; undefined if there is none. */
  find(token: string): Identity | undefined {
    const id = hashOf(token);
    const session = this.sessions.get(id);
    if (session === undefined) return undefined;
    if (this.isOver(session)) {
      this.sessions.delete(id);
      return undefined;
    }
    session.usedAt = this.now();
    return session.identity;
  }

  end(token: string): void {
    this.sessions.delete(hashOf(token));
  }

  get count(): number {
    return this.sessions.size;
  }

  private isOver({ since, usedAt }: Session): boolean {
    const now = this.now();
    return now - since > LIFETIME_MS || now - usedAt > IDLE_MS;
  }
}

/** A lookup by hash takes no time that depends on a guess. */
const hashOf = (token: string): string => createHash("sha256").update(token).digest("base64");
