import type { Config, Transport } from "../config/types.js";
import type { Logger } from "../ops/log.js";
import { CallStats } from "../stats/methods.js";
import { Deadlines } from "../turn/deadlines.js";
import type { Endpoint, EndpointHealth } from "./endpoint.js";
import { Members } from "./members.js";
import type { CallOptions, Done, Shard, ShardStream, StreamEvents, StreamOptions } from "./shard.js";
import { StreamCall } from "./streamCall.js";
import type { ShardTls } from "./tls.js";
import { UnaryCall } from "./unaryCall.js";

export interface ShardOptions extends Pick<Config["limits"], "requestTimeoutMs" | "connectTimeoutMs"> {
  /** Position in the configured order; -1 for a timeline host that is not a shard. */
  readonly index: number;
  readonly name: string;
  /** At least one, as `endpointAddress` takes them. The first that works is used. */
  readonly endpoints: readonly string[];
  readonly log: Logger;
  /** What carries the calls. Default: the setting's. */
  readonly transport?: Transport;
  /** For endpoints that start with `https://`. */
  readonly tls?: ShardTls | undefined;
}

/** A shard over the network, with its endpoints' health. */
export interface ShardClient extends Shard {
  /** Unary calls by method. A call counts once, even if it is sent again. */
  readonly stats: CallStats;
  /** Number of streams that are open or wait for an endpoint. */
  readonly openStreams: number;
  /** True if a call can be sent now. */
  readonly isConnected: boolean;
  /** Returns the health of all endpoints, in configured order. */
  endpoints(): EndpointHealth[];
  /** Calls `listener` whenever a connection is lost: the next one may reach another etcd. */
  onDisconnect(listener: () => void): void;
  /** Reads the TLS files again, for future connections. */
  reloadCertificates(): void;
  /** When the client certificate expires, in milliseconds since the epoch; `Infinity` without one. */
  readonly certificateExpiresAt: number;
}

/**
 * Opens a client of one backend cluster. It connects at the first call. The first endpoint that is connected and
 * answers is used until it fails. The others stay connected, so that failing over costs nothing. Throws an `Error`
 * for a malformed endpoint, and a FAILED_PRECONDITION `StatusError` for unusable TLS files.
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
  private readonly streams = new Set<StreamCall>();
  /** The latest state logged for each endpoint, so that one that stays down is logged once. */
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
    const stream = new StreamCall(this.members, path, events, metadata, () => this.streams.delete(stream));
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
    // Calls can leave this silent endpoint, or leave another silent one for this.
    if (state === "silent" || state === "ready") {
      for (const call of [...this.calls]) call.leaveSilent();
      for (const stream of [...this.streams]) stream.leaveSilent();
    }
    // An endpoint that is down alternates between these states. Its failure has been logged.
    if (state === "connecting" || (state === "failed" && lastError === undefined)) return;
    const summary = `${state} ${lastError}`;
    if (this.logged.get(endpoint) === summary) return;
    this.logged.set(endpoint, summary);
    const fields = { shard: this.name, endpoint: url };
    if (state === "ready") this.log.info(fields, "endpoint connected");
    else this.log.warn({ ...fields, error: lastError }, `endpoint ${state}`);
  }
}
