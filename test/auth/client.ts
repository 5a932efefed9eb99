import { openShard, type ShardClient } from "../../src/shard/client.js";
import { StatusError } from "../../src/status/error.js";
import {
  AuthenticateRequest,
  AuthenticateResponse,
  type Init,
  type WatchCreateRequest,
  WatchRequest,
  WatchResponse,
} from "../../src/wire/messages.js";
import { Auth, Watch } from "../../src/wire/paths.js";
import { said } from "../support/said.js";

const quiet = { debug() {}, info() {}, warn() {} };

/** The outcome of a call: `ok`, or code and text. */
export type Outcome = { readonly code: number; readonly message: string };
export const OK: Outcome = { code: 0, message: "" };

/** A client of an etcd or a proxy that sends a token with each call. */
export class AuthClient {
  readonly connection: ShardClient;

  constructor(endpoint: string) {
    this.connection = openShard({
      index: 0,
      name: "server",
      endpoints: [endpoint],
      requestTimeoutMs: 30_000,
      connectTimeoutMs: 10_000,
      log: quiet,
    });
  }

  close(): void {
    this.connection.close();
  }

  async login(user: string, password: string): Promise<string> {
    const request = AuthenticateRequest.encode({ name: user, password });
    return AuthenticateResponse.decode(await this.call(Auth.Authenticate, request)).token;
  }

  call(path: string, request: Uint8Array, token?: string): Promise<Uint8Array> {
    const metadata = token === undefined ? undefined : { token };
    return this.connection.call(path, request, { idempotent: true, ...(metadata && { metadata }) });
  }

  async outcome(path: string, request: Uint8Array, token?: string): Promise<Outcome> {
    try {
      await this.call(path, request, token);
      return OK;
    } catch (reason) {
      return this.outcomeOf(StatusError.from(reason));
    }
  }

  /** The message of the server itself. */
  outcomeOf(error: StatusError): Outcome {
    const { code, message } = said(error);
    return { code, message };
  }

  /** The first frame of a watch. */
  watch(request: Init<WatchCreateRequest>, token?: string): Promise<WatchResponse> {
    return new Promise((resolve, reject) => {
      const stream = this.connection.stream(
        Watch.Watch,
        {
          message: (message) => {
            stream.cancel();
            resolve(WatchResponse.decode(message));
          },
          closed: reject,
        },
        token === undefined ? {} : { metadata: { token } },
      );
      stream.send(WatchRequest.encode({ kind: "create", request }));
    });
  }
}
