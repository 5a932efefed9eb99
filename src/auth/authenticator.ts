import { setTimeout } from "node:timers/promises";
import { isAuthOff, problemOf } from "../shard/access.js";
import type { ShardClient } from "../shard/client.js";
import { Limiter } from "../shard/limiter.js";
import { describeShard } from "../shard/name.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { KV } from "../wire/paths.js";
import { PROBE } from "../wire/probe.js";
import type { Callers } from "./callers.js";
import { authenticate, isRefusal, type LoginCounts } from "./login.js";
import { MAX_CREDENTIALS } from "./seal.js";
import type { Session } from "./session.js";

/**
 * How long shards may take that do not answer, once another has let the user in, ms: etcdctl waits for 2 s while it
 * connects, the login included.
 */
const PATIENCE = 1_000;
/** Logins that shards are asked about at the same time, and more that may wait: each costs every shard a bcrypt. */
const MAX_LOGINS = 8;
const MAX_WAITING_LOGINS = 256;

/** What a shard says of a user and password. */
type Verdict =
  | { readonly kind: "in"; readonly token: string }
  | { readonly kind: "off" }
  | { readonly kind: "refused" | "failed"; readonly error: StatusError };

/**
 * Logs clients in: asks all shards, which cost a bcrypt each. Those who log in with the same user and password at the
 * same time share that; and as long as the shards know the tokens of a former login, as they do until the password is
 * changed or the user deleted, it is enough to try these.
 */
export class Authenticator {
  private readonly running = new Map<string, Promise<Session>>();
  private readonly limiter = new Limiter(MAX_LOGINS, MAX_WAITING_LOGINS);

  constructor(
    private readonly callers: Callers,
    /** Without any access of their own. */
    private readonly shards: readonly ShardClient[],
    private readonly counts: LoginCounts,
  ) {}

  /** Resolves to a token that all proxies of the store take. Rejects as etcd does where all shards agree. */
  async login(user: string, password: string): Promise<string> {
    if (Buffer.byteLength(user) + Buffer.byteLength(password) > MAX_CREDENTIALS) throw etcd.authFailed();
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
    if (known !== undefined && (await this.isGood(known))) return known;
    return this.limiter.run(() => this.ask(user, password));
  }

  private async ask(user: string, password: string): Promise<Session> {
    const credentials = { user, password: () => password };
    const verdicts: (Verdict | undefined)[] = this.shards.map(() => undefined);
    let letIn: () => void;
    const patience = new AbortController();
    const lateEnough = new Promise<void>((resolve) => {
      letIn = resolve;
    }).then(() => setTimeout(PATIENCE, undefined, { signal: patience.signal }).catch(() => {}));
    let session: Session | undefined;
    const asked = this.shards.map(async (shard, i) => {
      const verdict = await verdictOf(() => authenticate(shard, credentials, this.counts));
      verdicts[i] = verdict;
      if (verdict.kind === "in") letIn();
      // Later than the others, but worth having.
      if (session !== undefined) take(session, i, verdict);
    });
    await Promise.race([Promise.all(asked), lateEnough]);
    patience.abort();
    this.judge(user, verdicts);
    session = this.callers.add(user, password);
    for (const [i, verdict] of verdicts.entries()) take(session, i, verdict);
    return session;
  }

  /** Throws unless some shard has let the user in and none has done otherwise. */
  private judge(user: string, verdicts: readonly (Verdict | undefined)[]): void {
    const all = verdicts.filter((verdict) => verdict !== undefined);
    const kinds = new Set(all.map(({ kind }) => kind));
    kinds.delete("failed");
    if (kinds.size > 1) throw this.disagreement(user, verdicts);
    if (kinds.has("in")) return;
    if (kinds.has("off")) throw etcd.authNotEnabled();
    const refusal = all.find(({ kind }) => kind === "refused") ?? all.find(({ kind }) => kind === "failed");
    throw (refusal as { error: StatusError }).error;
  }

  private disagreement(user: string, verdicts: readonly (Verdict | undefined)[]): StatusError {
    const tales = verdicts.flatMap((verdict, i) => {
      const text = verdict && TALES[verdict.kind];
      return text === undefined ? [] : `${describeShard(this.shards[i]!)} ${text}`;
    });
    return new StatusError(
      Code.FAILED_PRECONDITION,
      `etcd-braid: the shards do not agree on user "${user}": ${tales.join(", ")}; ` +
        "`braid auth repair` shows how they differ",
    );
  }

  /**
   * True when a shard knows the session's token and none has anything against it. A shard that does not answer, or that
   * was not asked yet because it did not answer before, has nothing to say: logins go on while it is down.
   */
  private async isGood(session: Session): Promise<boolean> {
    const deadline = Date.now() + PATIENCE;
    const tried = await Promise.all(
      this.shards.map(async (shard, i) => {
        const { metadata, isRefused } = session.access(i);
        if (isRefused) return false;
        if (metadata === undefined) return undefined;
        if (metadata.token === undefined) return false;
        try {
          // etcd checks the token before the permission. Linearizable: a member that lags knows old users.
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

const TALES: Readonly<Record<Verdict["kind"], string | undefined>> = {
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

function take(session: Session, shard: number, verdict: Verdict | undefined): void {
  if (verdict?.kind === "in") session.access(shard).take(verdict.token);
}
