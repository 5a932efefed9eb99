import type { IncomingMessage, ServerResponse } from "node:http";
import type { Metadata } from "../../rpc/call.js";
import type { CallState, Carrier } from "../../rpc/callState.js";
import type { ConnectionStats } from "../../stats/connections.js";
import type { MethodStats } from "../../stats/methods.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import type { Deadlines } from "../../turn/deadlines.js";
import { MAX_REQUEST_BYTES, MAX_UNREAD_BYTES, tooLarge } from "../limits.js";
import type { CallObserver } from "../observer.js";
import type { Rotation } from "./rotation.js";
import type { Method } from "./schema.js";
import { TextBuffer } from "./textBuffer.js";

/** Headers that become metadata under their own name; others need the prefix. */
const UNPREFIXED = new Set(["authorization", "x-request-id", "traceparent", "tracestate"]);
const PREFIX = "grpc-metadata-";
/** How long the body of a request that is not a stream may take to arrive. */
const BODY_TIMEOUT_MS = 300_000;

class HeaderMetadata implements Metadata {
  constructor(private readonly request: IncomingMessage) {}

  get(name: string): string | undefined {
    const { headers } = this.request;
    const value = (UNPREFIXED.has(name) ? headers[name] : undefined) ?? headers[PREFIX + name];
    return Array.isArray(value) ? value[0] : value;
  }
}

/** What all calls of one method share. */
export interface Endpoint {
  readonly method: Method;
  readonly stats: MethodStats;
  readonly observer: CallObserver;
  /** Largest request message, in protobuf bytes. */
  readonly messageBytes: number;
  /** Largest JSON text of one message, in bytes. */
  readonly textBytes: number;
  /** Queued bytes of a stream above which `send` returns false. */
  readonly highWaterBytes: number;
  /** Counts waiting bytes in both directions. */
  readonly connections: ConnectionStats;
  /** Streams with input, of all methods. */
  readonly rotation: Rotation;
  /** Calls with a deadline, of all methods. */
  readonly deadlines: Deadlines<CallState>;
}

/** A call over HTTP/1.1. */
export abstract class HttpCarrier implements Carrier {
  abstract readonly call: CallState;
  private readonly since: number;
  private requestBytes = 0;
  private responseBytes = 0;

  constructor(
    protected readonly endpoint: Endpoint,
    protected readonly request: IncomingMessage,
    protected readonly response: ServerResponse,
  ) {
    this.since = endpoint.observer.began(endpoint.stats);
    response.once("close", () => {
      this.call.cancel();
      this.countResponse(-this.responseBytes);
    });
    // A write to a client that has gone, which "close" reports.
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
   * Sets the memory that the request takes, in bytes; it is counted until the call is over. Aborts the call when that
   * exceeds the limit of all requests. Returns false when the call is over.
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

  /** Adds to the response bytes that wait to be read; negative when they no longer do. */
  protected countResponse(bytes: number): void {
    // Bytes that were unwritten at "close" have been subtracted there already.
    const counted = Math.max(bytes, -this.responseBytes);
    this.endpoint.connections.queued.bytes += counted;
    this.responseBytes += counted;
  }

  /** Whether clients leave so much unread that this response may not queue `more` bytes. */
  protected isFull(more: number): boolean {
    const { queued } = this.endpoint.connections;
    return queued.isExceeded(MAX_UNREAD_BYTES, this.responseBytes + more);
  }

  /**
   * Calls `done` with the whole body, with RESOURCE_EXHAUSTED as soon as the body is too large, or with CANCELLED when it
   * takes too long. Does not call it if the call is over before.
   */
  protected readBody(done: (error: StatusError | undefined, text: string) => void): void {
    const { request, endpoint } = this;
    const body = new TextBuffer();
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

  /** Closes the connection after this response if the request's body is incomplete: no other request can follow. */
  protected closeUnlessRead(): void {
    if (!this.request.complete) this.response.setHeader("connection", "close");
  }
}

function tooSlow(): StatusError {
  const text = `etcd-braid: the request body did not arrive within ${BODY_TIMEOUT_MS / 1_000} s`;
  return new StatusError(Code.CANCELLED, text);
}

/** Milliseconds per unit of `Grpc-Timeout`. */
const UNITS_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/**
 * Deadline of a request that has just arrived, in milliseconds since the epoch; `Infinity` when it has none. Throws
 * INVALID_ARGUMENT for a malformed `Grpc-Timeout`.
 */
export function deadlineOf(request: IncomingMessage): number {
  const header = request.headers["grpc-timeout"];
  if (header === undefined || header === "") return Number.POSITIVE_INFINITY;
  const text = String(header);
  const [, amount, unit = ""] = /^([+-]?\d{1,18})([HMSmun])$/.exec(text) ?? [];
  const unitMs = UNITS_MS[unit];
  if (unitMs === undefined) throw new StatusError(Code.INVALID_ARGUMENT, `invalid grpc-timeout: ${text}`);
  const timeout = Number(amount) * unitMs;
  return timeout === 0 ? Number.POSITIVE_INFINITY : Date.now() + Math.floor(timeout);
}
