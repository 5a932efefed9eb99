import { isAuthOff } from "../shard/access.js";
import type { Access, AccessProblem, CallMetadata } from "../shard/caller.js";
import type { ShardClient } from "../shard/client.js";
import { StatusError } from "../status/error.js";
import { AuthenticateRequest, AuthenticateResponse } from "../wire/messages.js";
import { Auth } from "../wire/paths.js";

/** How long a refusal is remembered, in milliseconds. Each login costs the shard a bcrypt. */
const REFUSAL_MS = 5_000;
/** etcd's simple tokens: letters, then the index of the login. Unlike JWTs, they survive changes of users and roles. */
const SIMPLE_TOKEN = /^[A-Za-z]+\.\d+$/;

/** The metadata of a caller without a token, and of one whose token is invalid. */
export const NO_TOKEN: CallMetadata = {};
export const BAD_TOKEN: CallMetadata = { token: "invalid" };

/** A user to log in. `password` is called at every login, and throws when the password cannot be read. */
export interface Credentials {
  readonly user: string;
  password(): string;
}

/** Counts logins, for metrics. */
export interface LoginCounts {
  /** Number of Authenticate calls sent to shards. */
  authenticates: number;
}

/** Logs in at a shard, and resolves to the token. Rejects with the shard's `StatusError`. */
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

/** A user's token at one shard. Logs in when the token is first needed, and again when the shard has forgotten it. */
export class Login implements Access {
  metadata: CallMetadata | undefined;
  /** True once the shard has let the user in, or had authentication off. */
  succeeded = false;
  private running: Promise<void> | undefined;
  private refusal: StatusError | undefined;
  private refusedAt = 0;

  /**
   * `refused` makes the error for calls of a user that the shard does not let in. Without it they are sent with an invalid
   * token, so that the shard itself refuses them.
   */
  constructor(
    /** Without the proxy's own token. */
    readonly shard: ShardClient,
    private readonly credentials: Credentials,
    private readonly counts: LoginCounts,
    private readonly refused?: (reason: StatusError) => StatusError,
  ) {}

  /** True when the last login was refused. */
  get isRefused(): boolean {
    return this.refusal !== undefined;
  }

  async renew(refused: CallMetadata | undefined, problem: AccessProblem | undefined): Promise<boolean> {
    // Another call has renewed the token already.
    if (this.metadata !== refused) return true;
    if (problem === "missing" && refused !== NO_TOKEN) return false;
    // Users or roles changed while the request was under way.
    if (problem === "stale" && SIMPLE_TOKEN.test(refused?.token ?? "")) return true;
    if (this.refusal === undefined || performance.now() - this.refusedAt > REFUSAL_MS) await this.login();
    if (this.refusal === undefined) return true;
    if (problem === "token") return false;
    if (this.refused === undefined) return true;
    throw this.refused(this.refusal);
  }

  /** Sets the token of a successful login. Undefined means that the shard has authentication off. */
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

/** True for etcd's errors for a wrong user or password. There are two texts. */
export function isRefusal(error: StatusError): boolean {
  return error.message.includes("authentication failed");
}
