import { createHash, timingSafeEqual } from "node:crypto";
import { mayAdminister } from "../auth/permission.js";
import { readSecret } from "../config/secrets.js";
import type { SecretConfig } from "../config/types.js";
import type { Handlers, Metadata } from "../rpc/call.js";
import { internalCall } from "../services/internalCall.js";
import { isDenied } from "../shard/access.js";
import type { Caller } from "../shard/caller.js";
import type { Shard } from "../shard/shard.js";
import type { ShardSet } from "../shard/shardSet.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { AuthenticateRequest, AuthenticateResponse } from "../wire/messages.js";
import { Auth } from "../wire/paths.js";
import { Attempts } from "./attempts.js";
import { Calls, type Method } from "./calls.js";
import type { SessionReport } from "./report.js";
import { RequestError } from "./requestError.js";
import { type Identity, Sessions } from "./sessions.js";

export type Mode = SessionReport["mode"];

/** Somebody who may use the console. */
export interface Viewer {
  /** The store's user; undefined without authentication. */
  readonly user: string | undefined;
  /** Calls in this user's name. */
  readonly calls: Calls;
  /** True for everybody without authentication, otherwise for users with the role root. */
  isOperator(): Promise<boolean>;
}

export interface GateDeps {
  /** With the callers of the metadata, see `withCallers`. */
  readonly handlers: Handlers;
  /** Returns the caller of metadata; undefined if the proxy has no user, so that the store has authentication off. */
  readonly callerOf: ((metadata: Metadata) => Caller) | undefined;
  readonly shards: ShardSet;
  readonly password: SecretConfig | undefined;
  /** Milliseconds that never go back. */
  readonly now: () => number;
}

const AUTHENTICATE: Method<AuthenticateRequest, AuthenticateResponse> = {
  path: Auth.Authenticate,
  request: AuthenticateRequest,
  response: AuthenticateResponse,
};

/** Age at which it is checked again whether authentication is on, and whether a user has the role root, in milliseconds. */
const MAX_AGE_MS = 5_000;
const NO_METADATA: Metadata = { get: () => undefined };

/** Decides who may use the console. */
export class Gate {
  private readonly sessions: Sessions;
  private readonly attempts: Attempts;
  private known: { readonly isAuthOn: boolean; readonly at: number } | undefined;
  private asking: Promise<boolean> | undefined;
  /** By identity, which lives as long as its session. */
  private readonly operators = new WeakMap<Identity, { readonly isOperator: boolean; readonly at: number }>();

  constructor(private readonly deps: GateDeps) {
    this.sessions = new Sessions(deps.now);
    this.attempts = new Attempts(deps.now);
  }

  async mode(): Promise<Mode> {
    if (await this.isAuthOn()) return "user";
    return this.deps.password === undefined ? "open" : "password";
  }

  /** The viewer with this token; undefined if there has to be a login first. */
  async viewer(token: string | undefined): Promise<Viewer | undefined> {
    const mode = await this.mode();
    if (mode === "open") return this.viewerOf(NOBODY, false);
    const identity = token === undefined ? undefined : this.sessions.find(token);
    if (identity === undefined) return undefined;
    // Authentication was turned on or off since.
    if ((identity.login !== undefined) !== (mode === "user")) return undefined;
    return this.viewerOf(identity, mode === "user");
  }

  /** Returns the token of a new session. Rejects with `RequestError`. */
  async login(user: string, password: string, address: string): Promise<string> {
    const mode = await this.mode();
    if (mode === "open") throw new RequestError(409, "there is nothing to log in to: the console is open");
    this.attempts.check(address);
    // Counted before it is known to fail, and without a pause after the check, so that attempts at the same time count, too.
    this.attempts.failed(address);
    const identity = mode === "user" ? await this.loginUser(user, password) : this.loginPassword(password);
    this.attempts.succeeded(address);
    return this.sessions.begin(identity);
  }

  logout(token: string | undefined): void {
    if (token !== undefined) this.sessions.end(token);
  }

  private async loginUser(user: string, password: string): Promise<Identity> {
    try {
      const { token } = await new Calls(this.deps.handlers, NO_METADATA).call(AUTHENTICATE, {
        name: user,
        password,
      });
      return { login: { user, token } };
    } catch (reason) {
      const error = StatusError.from(reason);
      if (error.code === Code.UNAVAILABLE || error.code === Code.DEADLINE_EXCEEDED)
        throw new RequestError(503, error.message);
      if (error.code === Code.RESOURCE_EXHAUSTED)
        throw new RequestError(429, error.message, { "retry-after": "1" });
      // One text for all reasons, so that users cannot be guessed.
      throw new RequestError(401, "the user or the password is wrong");
    }
  }

  private loginPassword(password: string): Identity {
    let wanted: string;
    try {
      wanted = readSecret(this.deps.password!);
    } catch {
      throw new RequestError(
        500,
        "the console's password cannot be read; the proxy's configuration is wrong",
      );
    }
    if (!timingSafeEqual(digest(password), digest(wanted)))
      throw new RequestError(401, "the password is wrong");
    return { login: undefined };
  }

  private viewerOf(identity: Identity, isUser: boolean): Viewer {
    const token = identity.login?.token;
    const metadata: Metadata = { get: (name) => (name === "token" ? token : undefined) };
    return {
      user: identity.login?.user,
      calls: new Calls(this.deps.handlers, metadata),
      isOperator: async () => !isUser || this.isOperator(identity, metadata),
    };
  }

  /** While no shard responds, what was known last counts. */
  private async isOperator(identity: Identity, metadata: Metadata): Promise<boolean> {
    const { shards, callerOf, now } = this.deps;
    const known = this.operators.get(identity);
    if (known !== undefined && now() - known.at < MAX_AGE_MS) return known.isOperator;
    const call = internalCall(Auth.UserList, { metadata, caller: callerOf?.(metadata) });
    const outcomes = await Promise.allSettled(
      shards.all().map((shard: Shard) => mayAdminister([shard], call)),
    );
    const isRefused = outcomes.some(
      (each) => each.status === "rejected" && isDenied(StatusError.from(each.reason)),
    );
    const isAdmitted = outcomes.some(({ status }) => status === "fulfilled");
    if (!isRefused && !isAdmitted) return known?.isOperator ?? false;
    this.operators.set(identity, { isOperator: isAdmitted && !isRefused, at: now() });
    return isAdmitted && !isRefused;
  }

  /** Whether the store has authentication on. Unless all shards that respond deny it, it counts as on. */
  private async isAuthOn(): Promise<boolean> {
    const { callerOf, handlers, now } = this.deps;
    if (callerOf === undefined) return false;
    if (this.known !== undefined && now() - this.known.at < MAX_AGE_MS) return this.known.isAuthOn;
    // Every etcd with authentication on refuses a login without a name.
    this.asking ??= new Calls(handlers, NO_METADATA)
      .call(AUTHENTICATE, {})
      .then(
        () => true,
        (reason) => !etcd.authNotEnabled.is(StatusError.from(reason)),
      )
      .then((isAuthOn) => {
        this.known = { isAuthOn, at: now() };
        this.asking = undefined;
        return isAuthOn;
      });
    return this.asking;
  }
}

const NOBODY: Identity = { login: undefined };

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
