import { CallStats } from "../stats/methods.js";
import { Code, StatusError } from "../status/error.js";
import type { ShardClient } from "./client.js";
import type { EndpointHealth } from "./endpoint.js";
import { unsent } from "./errors.js";
import { describeShard } from "./name.js";
import { refusedStream } from "./refusedStream.js";
import type { CallOptions, Done, ShardStream, StreamEvents, StreamOptions } from "./shard.js";

/** Shortest time between two attempts to open a client. */
const RETRY_MS = 1_000;
const EMPTY = new Uint8Array(0);

/**
 * Opens the client of a shard that joins a running proxy. Never throws. While it cannot be opened, for example because a
 * certificate file is missing, the shard counts as unreachable: its calls and streams fail with UNAVAILABLE, and try to open it
 * again, at most once per second.
 */
export function openLateShard(
  index: number,
  { name, endpoints }: { readonly name: string; readonly endpoints: readonly string[] },
  open: () => ShardClient,
): ShardClient {
  const late = new LateShard(index, name, () => {
    if (endpoints.length === 0) throw new Error("its endpoints are not known");
    return open();
  });
  return late.opened ?? late;
}

class LateShard implements ShardClient {
  /** Undefined while the shard cannot be opened. */
  opened: ShardClient | undefined;
  private error: StatusError | undefined;
  private triedAt = Number.NEGATIVE_INFINITY;
  private isClosed = false;
  private readonly callsBefore = new CallStats();
  private readonly disconnectListeners: (() => void)[] = [];

  constructor(
    readonly index: number,
    readonly name: string,
    private readonly open: () => ShardClient,
  ) {
    this.tryOpen();
  }

  unary(path: string, request: Uint8Array, options: CallOptions, done: Done): () => void {
    const client = this.current();
    if (!(client instanceof StatusError)) return client.unary(path, request, options, done);
    let cancelled = false;
    process.nextTick(() => {
      if (!cancelled) done(unsent(client, options), EMPTY);
    });
    return () => {
      cancelled = true;
    };
  }

  async call(path: string, request: Uint8Array, options: CallOptions): Promise<Uint8Array> {
    const client = this.current();
    if (client instanceof StatusError) throw unsent(client, options);
    return client.call(path, request, options);
  }

  stream(path: string, events: StreamEvents, options?: StreamOptions): ShardStream {
    const client = this.current();
    return client instanceof StatusError
      ? refusedStream(client, events)
      : client.stream(path, events, options);
  }

  reloadCertificates(): void {
    if (this.opened === undefined && !this.isClosed) this.tryOpen();
    else this.opened?.reloadCertificates();
  }

  onDisconnect(listener: () => void): void {
    this.disconnectListeners.push(listener);
    this.opened?.onDisconnect(listener);
  }

  close(): void {
    this.isClosed = true;
    this.error = this.failure("closed");
    this.opened?.close();
  }

  get stats(): CallStats {
    return this.opened?.stats ?? this.callsBefore;
  }

  get openStreams(): number {
    return this.opened?.openStreams ?? 0;
  }

  get isConnected(): boolean {
    return this.opened?.isConnected ?? false;
  }

  get certificateExpiresAt(): number {
    return this.opened?.certificateExpiresAt ?? Number.POSITIVE_INFINITY;
  }

  endpoints(): EndpointHealth[] {
    return this.opened?.endpoints() ?? [];
  }

  /** The client, or why there is none. */
  private current(): ShardClient | StatusError {
    if (this.opened === undefined && !this.isClosed && performance.now() - this.triedAt >= RETRY_MS) {
      this.tryOpen();
    }
    return this.opened ?? this.error ?? this.failure("not open");
  }

  private tryOpen(): void {
    this.triedAt = performance.now();
    try {
      this.opened = this.open();
      for (const listener of this.disconnectListeners) this.opened.onDisconnect(listener);
    } catch (reason) {
      const { message } = reason as Error;
      // The reason can contain addresses and file names.
      this.error = this.failure("cannot be opened", message.replace(`${describeShard(this)}: `, ""));
    }
  }

  private failure(text: string, detail?: string): StatusError {
    return new StatusError(Code.UNAVAILABLE, `${describeShard(this)}: ${text}`, { detail });
  }
}
