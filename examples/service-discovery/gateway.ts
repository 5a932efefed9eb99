/** An answer that is an error of etcd's. */
export class EtcdError extends Error {
  override readonly name = "EtcdError";

  constructor(
    message: string,
    /** The gRPC code. */
    readonly code: number,
  ) {
    super(message);
  }
}

const UNAUTHENTICATED = 16;
const INVALID_ARGUMENT = 3;

export interface Account {
  readonly name: string;
  readonly password: string;
}

interface ErrorBody {
  readonly error?: string | { readonly grpc_code?: number; readonly message?: string };
  readonly message?: string;
  readonly code?: number;
}

/** etcd's JSON gateway, at whichever endpoint answers. A token that is not good any more is replaced by a new one. */
export class Gateway {
  private current = 0;
  private token: string | undefined;

  constructor(
    private readonly endpoints: readonly string[],
    private readonly account?: Account,
  ) {}

  /** One request. Rejects with `EtcdError`, or with another error when the endpoint does not answer. */
  async call<T>(path: string, body: object, signal?: AbortSignal): Promise<T> {
    const response = await this.open(path, body, signal);
    return (await response.json()) as T;
  }

  /** The messages of a stream, one JSON line each. */
  async *stream<T>(path: string, body: object, signal?: AbortSignal): AsyncGenerator<T> {
    const response = await this.open(path, body, signal);
    let rest = "";
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const message = JSON.parse(line) as { result?: T } & ErrorBody;
        if (message.result === undefined) throw errorOf(message);
        yield message.result;
      }
    }
  }

  /** Lets the next call go to the next endpoint. */
  moveOn(): void {
    this.current = (this.current + 1) % this.endpoints.length;
  }

  /** Has the next call get a new token. */
  forgetToken(): void {
    this.token = undefined;
  }

  private async open(path: string, body: object, signal?: AbortSignal): Promise<Response> {
    for (let isRetry = false; ; isRetry = true) {
      if (this.account !== undefined) this.token ??= await this.authenticate(this.account, signal);
      const response = await this.post(path, body, signal);
      if (response.ok) return response;
      const error = errorOf((await response.json()) as ErrorBody);
      // The token has expired, or the users have changed: etcd's clients ask for a new one and try again.
      if (isRetry || this.account === undefined || !isTokenProblem(error)) throw error;
      this.token = undefined;
    }
  }

  private async authenticate(account: Account, signal?: AbortSignal): Promise<string> {
    const response = await this.post("/v3/auth/authenticate", account, signal);
    const body = (await response.json()) as { token?: string } & ErrorBody;
    if (body.token === undefined) throw errorOf(body);
    return body.token;
  }

  private post(path: string, body: object, signal?: AbortSignal): Promise<Response> {
    return fetch(`http://${this.endpoints[this.current]}${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: this.token === undefined ? {} : { authorization: this.token },
      signal: signal ?? null,
    });
  }
}

function isTokenProblem({ code, message }: EtcdError): boolean {
  return (
    code === UNAUTHENTICATED ||
    (code === INVALID_ARGUMENT && message.includes("revision of auth store is old"))
  );
}

function errorOf({ error, message, code }: ErrorBody): EtcdError {
  if (typeof error === "object") return new EtcdError(error.message ?? "unknown", error.grpc_code ?? 2);
  return new EtcdError(message ?? error ?? "unknown", code ?? 2);
}
