import type { IncomingMessage, ServerResponse } from "node:http";
import type { Metadata } from "../../rpc/call.js";
import type { CallState, Carrier } from "../../rpc/callState.js";
import type { ConnectionStats } from "../../stats/connections.js";
import type { MethodStats } from "../../stats/methods.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import type { Deadlines } from "../../turn/deadlines.js";
import { MAX_REQUEST_BYTES, MAX_UNREAD_BYTES, tooLarge } from "../limit.js";
import type { CallObserver } from "../observer.js";
import { Collected } from "./collected.js";
import type { Method } from "./schema.js";

/** Headers that are metadata under their own name; others need the prefix. */
const PLAIN = new Set(["authorization", "x-request-id", "traceparent", "tracestate"]);
const PREFIX = "grpc-metadata-";
/** How long the body of a request may take that is no stream, ms. */
const BODY_TIMEOUT_MS = 300_000;

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
  /** Counts what waits, in both directions. */
  readonly connections: ConnectionStats;
  /** The calls that have a deadline, of all methods. */
  readonly deadlines: Deadlines<CallState>;
}

/** One call that came over HTTP/1.1. */
export abstract class HttpCarrier implements Carrier {
  abstract readonly call: CallState;
  private readonly since: number;
  private requestBytes = 0;
  private answerBytes = 0;

  constructor(
    protected readonly endpoint: Endpoint,
    protected readonly request: IncomingMessage,
    protected readonly response: ServerResponse,
  ) {
    this.since = endpoint.observer.began(endpoint.stats);
    response.once("close", () => {
      this.call.cancel();
      this.countAnswer(-this.answerBytes);
    });
    // A write to a client that has gone; "close" tells.
    response.on("error", () => {});
  }

  get metadata(): Metadata {
    return new HeaderMetadata(this.request);
  }

  abstract fail(error: StatusError): void;

  ended(error: StatusError | undefined): void {
    const { observer, stats, connections } = this.endpoint;
    connections.requests.bytes -= this.requestBytes;
    this.requestBytes = 0;
    observer.ended(this.call, stats, this.since, error);
  }

  /**
   * Counts memory that the request takes until the call is over: `bytes` from now on. False when it is too much; the call
   * has ended then.
   */
  protected countRequest(bytes: number): boolean {
    if (this.call.over) return false;
    const { requests } = this.endpoint.connections;
    requests.bytes += bytes - this.requestBytes;
    this.requestBytes = bytes;
    if (!requests.isExceeded(MAX_REQUEST_BYTES, bytes)) return true;
    this.call.abort(etcd.tooManyRequests());
    return false;
  }

  /** Counts bytes of answers that wait to be read; below 0 when they no longer do. */
  protected countAnswer(bytes: number): void {
    // What had not been written when the response was closed is told of once more.
    const counted = Math.max(bytes, -this.answerBytes);
    this.endpoint.connections.queued.bytes += counted;
    this.answerBytes += counted;
  }

  /** Whether all clients together leave so much unread that this one is to get no `more` bytes. */
  protected isFull(more: number): boolean {
    const { queued } = this.endpoint.connections;
    return queued.isExceeded(MAX_UNREAD_BYTES, this.answerBytes + more);
  }

  /**
   * Calls `done` with the whole body, or with RESOURCE_EXHAUSTED as soon as it is too long, or with CANCELLED when it takes
   * too long. Not at all when the call is over before.
   */
  protected readBody(done: (error: StatusError | undefined, text: string) => void): void {
    const { request, endpoint } = this;
    const body = new Collected();
    let isDone = false;
    const finish = (error: StatusError | undefined) => {
      if (isDone) return;
      isDone = true;
      clearTimeout(timer);
      const text = body.take();
      if (!this.call.over) done(error, text);
    };
    const timer = setTimeout(() => finish(tooSlow()), BODY_TIMEOUT_MS);
    this.call.onCancel(() => clearTimeout(timer));
    request.on("data", (chunk: Buffer) => {
      if (isDone) return;
      const size = body.size + chunk.length;
      if (size > endpoint.textBytes) finish(tooLarge(size, endpoint.messageBytes));
      else if (this.countRequest(size)) body.add(chunk);
      else finish(undefined);
    });
    request.on("end", () => finish(undefined));
  }

  /** Gives the connection up after this answer when the request's body is not at its end: nothing can follow it. */
  protected closeUnlessRead(): void {
    if (!this.request.complete) this.response.setHeader("connection", "close");
  }
}

function tooSlow(): StatusError {
  const text = `etcd-braid: the request's body did not come within ${BODY_TIMEOUT_MS / 1_000} s`;
  return new StatusError(Code.CANCELLED, text);
}

/** Milliseconds in one of each unit of `Grpc-Timeout`. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** When a call that comes now is to be over, ms since the epoch. Throws INVALID_ARGUMENT for a malformed `Grpc-Timeout`. */
export function deadlineOf(request: IncomingMessage): number {
  const header = request.headers["grpc-timeout"];
  if (header === undefined || header === "") return Number.POSITIVE_INFINITY;
  const text = String(header);
  const match = /^([+-]?\d{1,18})([HMSmun])$/.exec(text);
  if (match === null) throw new StatusError(Code.INVALID_ARGUMENT, `invalid grpc-timeout: ${text}`);
  const timeout = Number(match[1]) * UNITS[match[2]];
  return timeout === 0 ? Number.POSITIVE_INFINITY : Date.now() + Math.floor(timeout);
}
