import { schema } from "../config/schema.js";
import type { Config, Transport } from "../config/types.js";
import { Code, StatusError } from "../status/error.js";
import { TlsFileError } from "../tls/material.js";
import type { TlsLog } from "../tls/reloading.js";
import { endpointAddress } from "./address.js";
import { Endpoint, type EndpointHealth } from "./endpoint.js";
import { describeShard } from "./name.js";
import { type ShardTls, ShardTlsContext } from "./tls.js";

/** Longest time without any answer before calls and streams go to another endpoint, ms. */
const SILENCE_MAX_MS = 1_000;
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
  /** When the oldest call was sent that waits for an answer of the endpoint (`turnTime()`); undefined when none does. */
  waitingSince(endpoint: Endpoint): number | undefined;
}

/** A shard's endpoints: which one is used, who waits for one, and the errors in the shard's name. */
export class Members {
  readonly name: string;
  readonly requestTimeoutMs: number;
  /** Undefined when no endpoint speaks TLS. */
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
    const silenceMs = Math.min(SILENCE_MAX_MS, Math.ceil(options.requestTimeoutMs / 3));
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

  /** True when a call can be sent to some endpoint right now. */
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
   * The endpoint to use now: the one in use as long as it is ready and answers, else the next that is, else a
   * ready one that does not answer; undefined when none is connected.
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

  /** Prefers the endpoint after this one from now on: it works, but has no part in its cluster's quorum. */
  avoid(endpoint: Endpoint): void {
    if (this.endpoints[this.preferred] === endpoint) {
      this.preferred = (this.preferred + 1) % this.endpoints.length;
    }
  }

  /** True when another endpoint is ready and answers. */
  hasOther(endpoint: Endpoint): boolean {
    return this.endpoints.some((other) => other !== endpoint && other.ready && !other.isSilent);
  }

  /**
   * Calls `ready` when an endpoint can be used, or `failed` after the connect timeout. Returns a function
   * that gives up.
   */
  awaitEndpoint(ready: () => void, failed: () => void): () => void {
    const give = () => {
      clearTimeout(timer);
      this.waiters.delete(waiter);
    };
    const waiter = () => {
      give();
      ready();
    };
    const timer = setTimeout(() => {
      give();
      failed();
    }, this.connectTimeoutMs);
    this.waiters.add(waiter);
    for (const endpoint of this.endpoints) endpoint.connect();
    return give;
  }

  /** An error in the name of this shard. Addresses and what Node says of them belong into `detail`. */
  error(
    text: string,
    { code = Code.UNAVAILABLE, detail }: { code?: Code | undefined; detail?: string | undefined } = {},
  ): StatusError {
    return new StatusError(code, `${describeShard(this)}: ${text}`, { detail });
  }

  /** The error of a call that no endpoint can take; its detail says of each endpoint why. */
  unreachable(code?: Code): StatusError {
    const reasons = this.health().map(({ url, lastError }) => `${url}: ${lastError ?? "no answer"}`);
    return this.error("no endpoint reachable", { code, detail: reasons.join("; ") });
  }
}
