import { schema } from "../config/schema.js";
import type { Config, Transport } from "../config/types.js";
import { Code, StatusError } from "../status/error.js";
import { TlsFileError } from "../tls/material.js";
import type { TlsLog } from "../tls/reloading.js";
import { endpointAddress } from "./address.js";
import { Endpoint, type EndpointHealth } from "./endpoint.js";
import { describeShard } from "./name.js";
import { type ShardTls, ShardTlsContext } from "./tls.js";

/** Longest silence of an endpoint before calls and streams move to another. */
const MAX_SILENCE_MS = 1_000;
const DEFAULT_TRANSPORT: Transport = schema.shape.transport.parse(undefined);

export interface MembersOptions extends Pick<Config["limits"], "requestTimeoutMs" | "connectTimeoutMs"> {
  readonly name: string;
  readonly endpoints: readonly string[];
  /** Default: the setting's. */
  readonly transport?: Transport;
  /** For the endpoints that begin with `https://`. */
  readonly tls?: ShardTls | undefined;
  readonly log: TlsLog;
  /** Called after each change of an endpoint's state. */
  onChange(endpoint: Endpoint): void;
  /** Returns when the oldest call waiting for the endpoint was sent (`turnTime()`), or undefined if none waits. */
  waitingSince(endpoint: Endpoint): number | undefined;
}

/** A shard's endpoints: it chooses the one to use, queues calls that wait for one, and names the shard in errors. */
export class Members {
  readonly name: string;
  readonly requestTimeoutMs: number;
  /** Undefined if no endpoint uses TLS. */
  readonly tls: ShardTlsContext | undefined;
  private readonly connectTimeoutMs: number;
  private readonly endpoints: readonly Endpoint[];
  private preferred = 0;
  private readonly waiters = new Set<() => void>();
  private closed = false;

  constructor(options: MembersOptions) {
    this.name = options.name;
    this.requestTimeoutMs = options.requestTimeoutMs;
    this.connectTimeoutMs = options.connectTimeoutMs;
    const silenceMs = Math.min(MAX_SILENCE_MS, Math.ceil(options.requestTimeoutMs / 3));
    const addresses = options.endpoints.map(endpointAddress);
    if (addresses.some(({ secure }) => secure)) {
      this.tls = this.openTls(options);
    }
    this.endpoints = addresses.map((address) => {
      const changed = (endpoint: Endpoint) => {
        if (this.closed) return;
        options.onChange(endpoint);
        if (endpoint.ready) for (const waiter of [...this.waiters]) waiter();
      };
      const tls = address.secure ? this.tls : undefined;
      const { transport = DEFAULT_TRANSPORT, waitingSince } = options;
      return new Endpoint(address, transport, tls, silenceMs, changed, waitingSince);
    });
  }

  private openTls({ tls = {}, name, log }: MembersOptions): ShardTlsContext {
    try {
      return new ShardTlsContext(tls, `shard "${name}"`, log);
    } catch (error) {
      if (!(error instanceof TlsFileError)) throw error;
      throw this.error(error.message, { code: Code.FAILED_PRECONDITION });
    }
  }

  health(): EndpointHealth[] {
    return this.endpoints.map(({ health }, at) => ({ ...health, inUse: at === this.preferred }));
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** True if a call can be sent to some endpoint now. */
  get isConnected(): boolean {
    for (const endpoint of this.endpoints) if (endpoint.ready) return true;
    return false;
  }

  close(): void {
    this.closed = true;
    this.waiters.clear();
    for (const endpoint of this.endpoints) endpoint.close();
  }

  /**
   * Returns the endpoint to use now: the one in use if it is ready and answers, else the next that does, else a
   * ready one that is silent. Returns undefined if none is connected.
   */
  choose(): Endpoint | undefined {
    if (this.closed) return undefined;
    let silent: Endpoint | undefined;
    for (let i = 0; i < this.endpoints.length; i++) {
      const at = (this.preferred + i) % this.endpoints.length;
      const endpoint = this.endpoints[at]!;
      if (!endpoint.ready) continue;
      if (endpoint.isSilent) {
        silent ??= endpoint;
        continue;
      }
      this.preferred = at;
      return endpoint;
    }
    return silent;
  }

  /** Prefers the next endpoint from now on. For an endpoint that works, but is cut off from its cluster's quorum. */
  avoid(endpoint: Endpoint): void {
    if (this.endpoints[this.preferred] === endpoint) {
      this.preferred = (this.preferred + 1) % this.endpoints.length;
    }
  }

  /** Returns whether another endpoint is ready and answers. */
  hasOther(endpoint: Endpoint): boolean {
    return this.endpoints.some((other) => other !== endpoint && other.ready && !other.isSilent);
  }

  /** Calls `ready` once an endpoint can be used, or `failed` after the connect timeout. Returns a function to cancel. */
  awaitEndpoint(ready: () => void, failed: () => void): () => void {
    const cancel = () => {
      clearTimeout(timer);
      this.waiters.delete(waiter);
    };
    const waiter = () => {
      cancel();
      ready();
    };
    const timer = setTimeout(() => {
      cancel();
      failed();
    }, this.connectTimeoutMs);
    this.waiters.add(waiter);
    for (const endpoint of this.endpoints) endpoint.connect();
    return cancel;
  }

  /** Returns an error that names this shard. Addresses and Node's errors belong in `detail`. Default code: UNAVAILABLE. */
  error(
    text: string,
    { code = Code.UNAVAILABLE, detail }: { code?: Code | undefined; detail?: string | undefined } = {},
  ): StatusError {
    return new StatusError(code, `${describeShard(this)}: ${text}`, { detail });
  }

  /** Returns the error for a call that no endpoint can take. Its detail has the reason for each endpoint. */
  unreachable(code?: Code): StatusError {
    const reasons = this.health().map(({ url, lastError }) => `${url}: ${lastError ?? "no answer"}`);
    return this.error("no endpoint reachable", { code, detail: reasons.join("; ") });
  }
}
