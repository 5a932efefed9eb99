import type { IncomingMessage, ServerResponse } from "node:http";
import type { Caller } from "../../shard/caller.js";
import type { SlowCall } from "../../shard/shard.js";
import type { MethodStats } from "../../stats/methods.js";
import { Code, StatusError } from "../../status/error.js";
import { type CallObserver, cancelled } from "../observer.js";
import type { Call, Metadata } from "../transport.js";
import type { Method } from "./schema.js";

/** Longest delay that a Node timer can hold, ms. */
const MAX_DELAY = 2 ** 31 - 1;

/** Headers that are metadata under their own name; others need the prefix. */
const PLAIN = new Set(["authorization", "x-request-id", "traceparent", "tracestate"]);
const PREFIX = "grpc-metadata-";

class HeaderMetadata implements Metadata {
  constructor(private readonly request: IncomingMessage) {}

  get(name: string): string | undefined {
    const { headers } = this.request;
    const value = (PLAIN.has(name) ? headers[name] : undefined) ?? headers[PREFIX + name];
    return Array.isArray(value) ? value[0] : value;
  }
}

/** What the calls of one method share. */
export interface Endpoint {
  readonly method: Method;
  readonly stats: MethodStats;
  readonly observer: CallObserver;
  /** Largest request message, in bytes of protobuf. */
  readonly messageBytes: number;
  /** Largest JSON text of one message, in bytes. */
  readonly textBytes: number;
  /** Queued bytes of a stream above which `send` answers false. */
  readonly highWaterBytes: number;
}

/** One call that came over HTTP/1.1, as handlers see it. */
export abstract class HttpCall implements Call {
  readonly path: string;
  readonly deadline: number;
  caller: Caller | undefined = undefined;
  slowest: SlowCall | undefined = undefined;
  private finished = false;
  private wasCancelled = false;
  private timer: NodeJS.Timeout | undefined;
  private listeners: Set<() => void> | undefined;
  private readonly since: number;

  /** Throws INVALID_ARGUMENT when the header `Grpc-Timeout` is malformed. */
  constructor(
    protected readonly endpoint: Endpoint,
    protected readonly request: IncomingMessage,
    protected readonly response: ServerResponse,
  ) {
    this.path = endpoint.method.path;
    this.deadline = deadlineOf(request);
    this.since = endpoint.observer.began(endpoint.stats);
    response.once("close", () => this.cancel());
    // A write to a client that has gone; "close" tells.
    response.on("error", () => {});
    if (this.deadline !== Number.POSITIVE_INFINITY) this.timer = setTimeout(() => this.armDeadline());
  }

  /** Answers with an error. */
  protected abstract fail(error: StatusError): void;

  get metadata(): Metadata {
    return new HeaderMetadata(this.request);
  }

  get cancelled(): boolean {
    return this.wasCancelled;
  }

  onCancel(listener: () => void): () => void {
    if (this.wasCancelled) {
      listener();
      return () => {};
    }
    if (this.finished) return () => {};
    this.listeners ??= new Set();
    this.listeners.add(listener);
    return () => this.listeners?.delete(listener);
  }

  /** True once the handler is done, or nobody waits for it any more. */
  protected get over(): boolean {
    return this.finished || this.wasCancelled;
  }

  /** The handler is done. False when the call was over before. */
  protected finish(error?: StatusError): boolean {
    if (this.over) return false;
    this.finished = true;
    this.listeners = undefined;
    this.ended(error);
    return true;
  }

  /** Ends the call with `error`; the handler sees a cancellation. */
  abort(error: StatusError): void {
    if (this.over) return;
    this.cancel(error);
    this.fail(error);
  }

  /** Gives the connection up after this answer when the request's body is not at its end: nothing can follow it. */
  protected closeUnlessRead(): void {
    if (!this.request.complete) this.response.setHeader("connection", "close");
  }

  private cancel(error: StatusError = cancelled): void {
    if (this.over) return;
    this.wasCancelled = true;
    this.ended(error);
    const { listeners } = this;
    this.listeners = undefined;
    for (const listener of listeners ?? []) listener();
  }

  private ended(error: StatusError | undefined): void {
    clearTimeout(this.timer);
    const { observer, stats } = this.endpoint;
    observer.ended(this, stats, this.since, error);
  }

  private armDeadline(): void {
    const left = this.deadline - Date.now();
    if (left > 0) this.timer = setTimeout(() => this.armDeadline(), Math.min(left, MAX_DELAY));
    else this.expire();
  }

  /** Ends the call if its deadline has passed. */
  protected expire(): void {
    if (this.deadline > Date.now()) return;
    this.abort(new StatusError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"));
  }
}

/** Milliseconds in one of each unit of `Grpc-Timeout`. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

function deadlineOf(request: IncomingMessage): number {
  const header = request.headers["grpc-timeout"];
  if (header === undefined || header === "") return Number.POSITIVE_INFINITY;
  const text = String(header);
  const match = /^([+-]?\d{1,18})([HMSmun])$/.exec(text);
  if (match === null) throw new StatusError(Code.INVALID_ARGUMENT, `invalid grpc-timeout: ${text}`);
  const timeout = Number(match[1]) * UNITS[match[2]];
  return timeout === 0 ? Number.POSITIVE_INFINITY : Date.now() + Math.floor(timeout);
}
