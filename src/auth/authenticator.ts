import { setTimeout } from "node:timers/promises";
import { isAuthOff, problemOf } from "../shard/access.js";
import type { ShardClient } from "../shard/client.js";
import { Limiter } from "../shard/limiter.js";
import { describeShard } from "../shard/name.js";
import type { ShardSet } from "../shard/shardSet.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { KV } from "../wire/paths.js";
import { PROBE } from "../wire/probe.js";
import type { Callers } from "./callers.js";
import { authenticate, isRefusal, type LoginCounts } from "./login.js";
import { MAX_CREDENTIALS_BYTES } from "./seal.js";
import type { Session } from "./session.js";

/**
 * How long to wait for the other shards once one has let the user in, in milliseconds. etcdctl gives up after 2 s when it
 * connects, including the login.
 */
const LATE_SHARD_TIMEOUT_MS = 1_000;
/** Most concurrent logins, and most that wait. Each costs every shard a bcrypt. */
const MAX_LOGINS = 8;
const MAX_WAITING_LOGINS = 256;

/** A shard's verdict on a user and password. */
type Verdict =
  | { readonly kind: "in"; readonly token: string }
  | { readonly kind: "off" }
  | { readonly kind: "refused" | "failed"; readonly error: StatusError };

/**
 * Logs clients in at all shards, which costs each a bcrypt. Concurrent logins with the same user and password share one.
 * While the shards still know the tokens of an earlier login, those are tried instead. They stop knowing them when the
 * password is changed or the user deleted.
 */
export class Authenticator {
  private readonly running = new Map<string, Promise<Session>>();
  private readonly limiter = new Limiter(MAX_LOGINS, MAX_WAITING_LOGINS);

  constructor(
    private readonly callers: Callers,
    /** Without the proxy's own token. */
    private readonly shards: ShardSet<ShardClient>,
    private readonly counts: LoginCounts,
  ) {}

  /** Resolves to a token that all proxies of the store accept. Rejects with etcd's error where all shards agree. */
  async login(user: string, password: string): Promise<string> {
    if (Buffer.byteLength(user) + Buffer.byteLength(password) > MAX_CREDENTIALS_BYTES)
      throw etcd.authFailed();
    const key = this.callers.keyOf(user, password);
    let running = this.running.get(key);
    if (running === undefined) {
      running = this.enter(user, password).finally(() => this.running.delete(key));
      this.running.set(key, running);
    }
    return this.callers.tokenFor(await running);
  }

  private async enter(user: string, password: string): Promise<Session> {
    const known = this.callers.find(user, password);
    if (known !== undefined && (await this.isValid(known))) return known;
    return this.limiter.run(() => this.ask(user, password));
  }

  private async ask(user: string, password: string): Promise<Session> {
    const credentials = { user, password: () => password };
    const shards = this.shards.all();
    const verdicts = new Map<ShardClient, Verdict>();
    let letIn: () => void;
    const timer = new AbortController();
    const timeout = new Promise<void>((resolve) => {
      letIn = resolve;
    }).then(() => setTimeout(LATE_SHARD_TIMEOUT_MS, undefined, { signal: timer.signal }).catch(() => {}));
    let session: Session | undefined;
    const asked = shards.map(async (shard) => {
      const verdict = await verdictOf(() => authenticate(shard, credentials, this.counts));
      verdicts.set(shard, verdict);
      if (verdict.kind === "in") letIn();
      // Too late for this login, but the session can use the token.
      if (session !== undefined) take(session, shard, verdict);
    });
    await Promise.race([Promise.all(asked), timeout]);
    timer.abort();
    this.judge(user, shards, verdicts);
    session = this.callers.add(user, password);
    for (const [shard, verdict] of verdicts) take(session, shard, verdict);
    return session;
  }

  /** Throws unless some shard has let the user in and none has refused. */
  private judge(
    user: string,
    shards: readonly ShardClient[],
    verdicts: ReadonlyMap<ShardClient, Verdict>,
  ): void {
    const all = shards.flatMap((shard) => verdicts.get(shard) ?? []);
    const kinds = new Set(all.map(({ kind }) => kind));
    kinds.delete("failed");
    if (kinds.size > 1) throw disagreement(user, shards, verdicts);
    if (kinds.has("in")) return;
    if (kinds.has("off")) throw etcd.authNotEnabled();
    const refusal = all.find(({ kind }) => kind === "refused") ?? all.find(({ kind }) => kind === "failed");
    throw (refusal as { error: StatusError }).error;
  }

  /**
   * True when some shard accepts the session's token and none refuses it. A shard that does not answer, or that the session
   * has no token for yet, does not count. So logins work while it is down.
   */
  private async isValid(session: Session): Promise<boolean> {
    const deadline = Date.now() + LATE_SHARD_TIMEOUT_MS;
    const tried = await Promise.all(
      this.shards.all().map(async (shard) => {
        const { metadata, isRefused } = session.access(shard.index);
        if (isRefused) return false;
        if (metadata === undefined) return undefined;
        if (metadata.token === undefined) return false;
        try {
          // etcd checks the token before the permission. Linearizable, because a lagging member knows old users.
          await shard.call(KV.Range, PROBE, { idempotent: true, metadata, deadline });
          return true;
        } catch (reason) {
          const error = StatusError.from(reason);
          if (error.code === Code.UNAVAILABLE || error.code === Code.DEADLINE_EXCEEDED) return undefined;
          return error.code === Code.PERMISSION_DENIED && problemOf(error.message) === undefined;
        }
      }),
    );
    return tried.includes(true) && !tried.includes(false);
  }
}

function disagreement(
  user: string,
  shards: readonly ShardClient[],
  verdicts: ReadonlyMap<ShardClient, Verdict>,
): StatusError {
  const reports = shards.flatMap((shard) => {
    const verdict = verdicts.get(shard);
    const text = verdict && VERDICT_TEXTS[verdict.kind];
    return text === undefined ? [] : `${describeShard(shard)} ${text}`;
  });
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `etcd-braid: the shards do not agree on user "${user}": ${reports.join(", ")}; ` +
      "`braid auth repair` shows how they differ",
  );
}

const VERDICT_TEXTS: Readonly<Record<Verdict["kind"], string | undefined>> = {
  in: "lets it in",
  off: "has authentication off",
  refused: "refuses it",
  failed: undefined,
};

async function verdictOf(authenticate: () => Promise<string>): Promise<Verdict> {
  try {
    return { kind: "in", token: await authenticate() };
  } catch (reason) {
    const error = StatusError.from(reason);
    if (isAuthOff(error)) return { kind: "off" };
    return { kind: isRefusal(error) ? "refused" : "failed", error };
  }
}

function take(session: Session, { index }: ShardClient, verdict: Verdict): void {
  if (verdict.kind === "in") session.access(index).take(verdict.token);
}
