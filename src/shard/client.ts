import type { Config, Transport } from "../config/types.js";
import type { Logger } from "../ops/log.js";
import { CallStats } from "../stats/methods.js";
import { Deadlines } from "../turn/deadlines.js";
import type { Endpoint, EndpointHealth } from "./endpoint.js";
import { Members } from "./members.js";
import type { CallOptions, Done, Shard, ShardStream, StreamEvents, StreamOptions } from "./shard.js";
import { Stream } from "./stream.js";
import type { ShardTls } from "./tls.js";
import { UnaryCall } from "./unary.js";

export interface ShardOptions extends Pick<Config["limits"], "requestTimeoutMs" | "connectTimeoutMs"> {
  /** Place in the configured order; -1 for a timeline host that is no shard. */
  readonly index: number;
  readonly name: string;
  /** At least one; the first that works is used. `host:port`, `[ipv6]:port`, either with `http://` or `https://`, or `unix:/path`. */
  readonly endpoints: readonly string[];
  readonly log: Logger;
  /** What carries the calls. Default: the setting's. */
  readonly transport?: Transport;
  /** For the endpoints that begin with `https://`. */
  readonly tls?: ShardTls | undefined;
}

/** A shard over the network, with its endpoints' health. */
export interface ShardClient extends Shard {
  /** Unary calls, by method; a call that is sent again counts once. */
  readonly stats: CallStats;
  /** Streams that are open or wait for an endpoint. */
  readonly openStreams: number;
  /** True when a call can be sent right now. */
  readonly isConnected: boolean;
  /** In configured order. */
  endpoints(): EndpointHealth[];
  /** Calls `listener` whenever a connection is lost: whoever answers next may be another etcd. */
  onDisconnect(listener: () => void): void;
  /** Reads the files of TLS again, for the connections to come. */
  reloadCertificates(): void;
  /** When the certificate that is shown to the endpoints expires, ms since the epoch; `Infinity` without one. */
  readonly certificateExpiresAt: number;
}

/**
 * Opens the connection to one backend etcd cluster. It connects when the first call comes. The first endpoint
 * that is connected and answers is used until it fails; the others stay connected, so that failing over costs
 * nothing. Throws an `Error` for a malformed endpoint, and `StatusError` (FAILED_PRECONDITION) for a file of TLS that cannot be used.
 */
export function openShard(options: ShardOptions): ShardClient {
  return new Client(options);
}

class Client implements ShardClient {
  readonly index: number;
  readonly name: string;
  readonly stats = new CallStats();
  private readonly log: Logger;
  private readonly members: Members;
  private readonly calls = new Deadlines<UnaryCall>();
  private readonly streams = new Set<Stream>();
  /** What was logged last of each endpoint, so that an endpoint that stays down is reported once. */
  private readonly logged = new Map<Endpoint, string>();
  private readonly connected = new Set<Endpoint>();
  private readonly disconnectListeners: (() => void)[] = [];

  constructor(options: ShardOptions) {
    this.index = options.index;
    this.name = options.name;
    this.log = options.log;
    this.members = new Members({
      ...options,
      onChange: (endpoint) => this.changed(endpoint),
      waitingSince: (endpoint) => this.waitingSince(endpoint),
    });
  }

  get openStreams(): number {
    return this.streams.size;
  }

  get isConnected(): boolean {
    return this.members.isConnected;
  }

  endpoints(): EndpointHealth[] {
    return this.members.health();
  }

  unary(path: string, request: Uint8Array, options: CallOptions, done: Done): () => void {
    const stats = this.stats.of(path);
    const call = new UnaryCall(this.members, stats, request, options, done, this.calls);
    call.start();
    return call.cancel;
  }

  call(path: string, request: Uint8Array, options: CallOptions): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.unary(path, request, options, (error, response) => (error ? reject(error) : resolve(response)));
    });
  }

  stream(path: string, events: StreamEvents, { metadata }: StreamOptions = {}): ShardStream {
    const stream = new Stream(this.members, path, events, metadata, () => this.streams.delete(stream));
    this.streams.add(stream);
    return stream;
  }

  close(): void {
    if (this.members.isClosed) return;
    this.members.close();
    for (const call of [...this.calls]) call.close();
    const error = this.members.error("closed");
    for (const stream of [...this.streams]) stream.fail(error);
  }

  onDisconnect(listener: () => void): void {
    this.disconnectListeners.push(listener);
  }

  reloadCertificates(): void {
    this.members.tls?.reload();
  }

  get certificateExpiresAt(): number {
    return this.members.tls?.expiresAt ?? Number.POSITIVE_INFINITY;
  }

  private waitingSince(endpoint: Endpoint): number | undefined {
    let oldest: number | undefined;
    for (const call of this.calls) {
      const since = call.waitsSince(endpoint);
      if (since !== undefined && (oldest === undefined || since < oldest)) oldest = since;
    }
    return oldest;
  }

  private changed(endpoint: Endpoint): void {
    const { url, state, lastError } = endpoint.health;
    if (state === "ready") this.connected.add(endpoint);
    else if (state !== "silent" && this.connected.delete(endpoint)) {
      for (const listener of this.disconnectListeners) listener();
    }
    // Either this endpoint does not answer, or it is the way out for what waits for one that does not.
    if (state === "silent" || state === "ready") {
      for (const call of [...this.calls]) call.leaveSilent();
      for (const stream of [...this.streams]) stream.leaveSilent();
    }
    // While it is down an endpoint alternates between these; its failure has been reported.
    if (state === "connecting" || (state === "failed" && lastError === undefined)) return;
    const summary = `${state} ${lastError}`;
    if (this.logged.get(endpoint) === summary) return;
    this.logged.set(endpoint, summary);
    const fields = { shard: this.name, endpoint: url };
    if (state === "ready") this.log.info(fields, "endpoint connected");
    else this.log.warn({ ...fields, error: lastError }, `endpoint ${state}`);
  }
}
