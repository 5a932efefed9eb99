import { clientUrls, isWildcard, parseHostPort } from "../config/address.js";
import { readSecret } from "../config/secrets.js";
import type { Config } from "../config/types.js";
import { openShard, type ShardClient } from "../shard/client.js";
import { Code, StatusError, withDetail } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { AuthenticateRequest, AuthenticateResponse } from "../wire/messages.js";
import { Auth } from "../wire/paths.js";
import { CommandError, Exit } from "./exit.js";

/** How to connect to a proxy. */
export interface ProxyOptions {
  /** `host:port` or a URL; undefined: as the configuration says. */
  readonly endpoint?: string | undefined;
  /** PEM files, for a proxy with TLS. */
  readonly cacert?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

const QUIET = { debug() {}, info() {}, warn() {} };
/** A change of users waits for all shards. */
const TIMEOUT_MS = 20_000;

/** The URLs with which clients reach the proxies. */
export function endpointsOf({ advertise, listen, tls }: Config): readonly string[] {
  return advertise ?? clientUrls(listen, tls !== undefined);
}

/** A client of a running proxy, with the rights of the proxy's own user. */
export class ProxyClient {
  private token: string | undefined;

  private constructor(
    readonly endpoint: string,
    private readonly connection: ShardClient,
  ) {}

  /** Connects as the user of the configuration. Resolves to undefined if the store has authentication off. */
  static async login(config: Config, options: ProxyOptions): Promise<ProxyClient | undefined> {
    const { own } = config.auth;
    if (own === undefined) return undefined;
    const endpoint = options.endpoint ?? localEndpoint(config);
    const { cacert, cert, key } = options;
    const client = new ProxyClient(
      endpoint,
      openShard({
        index: 0,
        name: "proxy",
        endpoints: [endpoint],
        requestTimeoutMs: TIMEOUT_MS,
        connectTimeoutMs: config.limits.connectTimeoutMs,
        tls: {
          ...(cacert !== undefined && { caFile: cacert }),
          ...(cert !== undefined && { certFile: cert }),
          ...(key !== undefined && { keyFile: key }),
        },
        log: QUIET,
      }),
    );
    try {
      const request = AuthenticateRequest.encode({ name: own.user, password: readSecret(own.password) });
      client.token = AuthenticateResponse.decode(await client.call(Auth.Authenticate, request)).token;
      return client;
    } catch (error) {
      client.close();
      if (etcd.authNotEnabled.is(error)) return undefined;
      throw client.failure(error);
    }
  }

  /** Rejects with `StatusError`. */
  call(path: string, request: Uint8Array): Promise<Uint8Array> {
    const { token } = this;
    return this.connection.call(path, request, {
      idempotent: false,
      ...(token !== undefined && { metadata: { token } }),
    });
  }

  close(): void {
    this.connection.close();
  }

  /** The error of the command, for an error of a call. */
  failure(error: unknown): CommandError {
    const { code } = StatusError.from(error);
    const advice =
      code === Code.UNAVAILABLE ? "; a proxy must run there, or name another one with --endpoint" : "";
    return new CommandError(Exit.failure, `the proxy at ${this.endpoint}: ${withDetail(error)}${advice}`);
  }
}

/** Where the proxy of the configuration can be reached from this machine. */
export function localEndpoint({ listen, tls }: Config): string {
  const { host, port } = parseHostPort(listen[0]!);
  const reachable = isWildcard(host) ? (host.includes(":") ? "[::1]" : "127.0.0.1") : host;
  const shown = reachable.includes(":") && !reachable.startsWith("[") ? `[${reachable}]` : reachable;
  return `${tls === undefined ? "" : "https://"}${shown}:${port}`;
}
