import { isAuthOff } from "../shard/access.js";
import type { Access, AccessProblem, CallMetadata } from "../shard/caller.js";
import type { ShardClient } from "../shard/client.js";
import { StatusError } from "../status/error.js";
import { AuthenticateRequest, AuthenticateResponse } from "../wire/messages.js";
import { Auth } from "../wire/paths.js";

/** How long a user whom a shard has refused is refused without asking it again, ms: every question costs it a bcrypt. */
const REFUSED_FOR = 5_000;
/** etcd's simple tokens: letters, then the index of the login. They do not age with the users' revision, as JWTs do. */
const SIMPLE = /^[A-Za-z]+\.\d+$/;

/** What a caller sends that has no token, and one whose token is none (any more). */
export const NO_TOKEN: CallMetadata = {};
export const BAD_TOKEN: CallMetadata = { token: "invalid" };

/** Whom to log in. `password` is asked for at every login, and throws when it cannot be had. */
export interface Credentials {
  readonly user: string;
  password(): string;
}

/** For metrics. */
export interface LoginCounts {
  /** Authenticate calls sent to shards, since the start. */
  authenticates: number;
}

/** Gets a token from a shard. Rejects with the shard's `StatusError`. */
export async function authenticate(
  shard: ShardClient,
  { user, password }: Credentials,
  counts: LoginCounts,
): Promise<string> {
  counts.authenticates++;
  const request = AuthenticateRequest.encode({ name: user, password: password() });
  const response = await shard.call(Auth.Authenticate, request, { idempotent: true });
  return AuthenticateResponse.decode(response).token;
}

/** A user's token at one shard: got when it is first needed, and again whenever the shard has forgotten it. */
export class Login implements Access {
  metadata: CallMetadata | undefined;
  /** True once the shard has let the user in, or had authentication off. */
  succeeded = false;
  private running: Promise<void> | undefined;
  private refusal: StatusError | undefined;
  private refusedAt = 0;

  /**
   * `refused` is what those get whose user the shard does not let in; without it they go there with a token that is none,
   * so that the shard itself says what it says to them.
   */
  constructor(
    /** Without any access of its own. */
    private readonly shard: ShardClient,
    private readonly credentials: Credentials,
    private readonly counts: LoginCounts,
    private readonly refused?: (reason: StatusError) => StatusError,
  ) {}

  /** True when the shard did not let the user in, the last time it was asked. */
  get isRefused(): boolean {
    return this.refusal !== undefined;
  }

  async renew(refused: CallMetadata | undefined, problem: AccessProblem | undefined): Promise<boolean> {
    // Somebody else had the same trouble.
    if (this.metadata !== refused) return true;
    if (problem === "missing" && refused !== NO_TOKEN) return false;
    // Users or roles changed while the request was under way.
    if (problem === "stale" && SIMPLE.test(refused?.token ?? "")) return true;
    if (this.refusal === undefined || performance.now() - this.refusedAt > REFUSED_FOR) await this.login();
    if (this.refusal === undefined) return true;
    if (problem === "token") return false;
    if (this.refused === undefined) return true;
    throw this.refused(this.refusal);
  }

  /** Takes the token of a login that has succeeded elsewhere; undefined where the shard has authentication off. */
  take(token: string | undefined): void {
    this.refusal = undefined;
    this.succeeded = true;
    this.metadata = token === undefined ? NO_TOKEN : { token };
  }

  private login(): Promise<void> {
    this.running ??= this.authenticate().finally(() => {
      this.running = undefined;
    });
    return this.running;
  }

  private async authenticate(): Promise<void> {
    try {
      this.take(await authenticate(this.shard, this.credentials, this.counts));
    } catch (reason) {
      const error = StatusError.from(reason);
      if (isAuthOff(error)) {
        this.take(undefined);
      } else if (isRefusal(error)) {
        this.metadata = this.refused === undefined ? BAD_TOKEN : undefined;
        this.refusal = error;
        this.refusedAt = performance.now();
      } else {
        throw error;
      }
    }
  }
}

/** True for the answer to a wrong user or password, which has two texts. */
export function isRefusal(error: StatusError): boolean {
  return error.message.includes("authentication failed");
}
