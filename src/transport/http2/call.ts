import { encodeMessage } from "../../http2/grpc.js";
import { Block, type OutField } from "../../http2/hpack/encoder.js";
import type { Field } from "../../http2/hpack/table.js";
import { ErrorCode } from "../../http2/protocol.js";
import type { RequestHead } from "../../http2/request.js";
import type { ServerConnection } from "../../http2/server.js";
import { Stream } from "../../http2/stream.js";
import type { Metadata, Usage } from "../../rpc/call.js";
import type { CallState, Carrier } from "../../rpc/callState.js";
import type { MethodStats } from "../../stats/methods.js";
import { Code, StatusError } from "../../status/error.js";
import type { Deadlines } from "../../turn/deadlines.js";
import { tooLarge } from "../limits.js";
import type { CallObserver } from "../observer.js";
import type { Lane } from "../turnstile.js";

const HEAD: readonly OutField[] = [
  { name: ":status", value: "200" },
  { name: "content-type", value: "application/grpc", repeats: true },
];

/** The header blocks that all successful calls of one connection share. */
export class ResponseBlocks {
  readonly head = new Block(HEAD);
  readonly ok = new Block([{ name: "grpc-status", value: "0", repeats: true }]);
}

/** What all calls of one connection share. */
export interface CallContext {
  readonly blocks: ResponseBlocks;
  readonly maxReceiveBytes: number;
  /** Queued bytes above which `send` returns false. */
  readonly highWaterBytes: number;
  readonly observer: CallObserver;
  /** Calls with a deadline, of all connections. */
  readonly deadlines: Deadlines<CallState>;
  readonly usage: Usage;
  /** Has unary calls take turns with those of other connections. */
  readonly lane: Lane;
}

class HeadMetadata implements Metadata {
  constructor(private readonly fields: readonly Field[]) {}

  get(name: string): string | undefined {
    const value = this.fields.find((field) => field.name === name)?.value;
    return value !== undefined && name.endsWith("-bin")
      ? Buffer.from(value, "base64").toString("latin1")
      : value;
  }
}

/** A gRPC call on its HTTP/2 stream. */
export abstract class CallStream extends Stream implements Carrier {
  abstract readonly call: CallState;
  private headSent = false;
  private readonly since: number;

  constructor(
    connection: ServerConnection,
    id: number,
    private readonly head: RequestHead,
    protected readonly context: CallContext,
    private readonly method: MethodStats,
  ) {
    super(connection, id, context.maxReceiveBytes);
    this.since = context.observer.began(method);
  }

  get metadata(): Metadata {
    return new HeadMetadata(this.head.fields);
  }

  ended(error: StatusError | undefined): void {
    this.context.observer.ended(this.call, this.method, this.since, error);
  }

  onOpen(): void {
    if (this.head.badTimeout) this.call.fail(new StatusError(Code.INTERNAL, "malformed grpc-timeout"));
  }

  onAborted(_code: ErrorCode | undefined, _reason: string): void {
    this.call.cancel();
  }

  onLocalEnd(): void {
    // The response is complete, so the client need not send the rest of its request.
    this.connection.abandon(this, ErrorCode.NO_ERROR);
  }

  protected onBadMessage(problem: "too large" | "compressed" | "truncated", size: number): void {
    if (problem === "too large") this.call.abort(tooLarge(size, this.context.maxReceiveBytes));
    else if (problem === "compressed") {
      this.call.abort(new StatusError(Code.UNIMPLEMENTED, "grpc: compressed messages are not supported"));
    } else this.call.abort(new StatusError(Code.INTERNAL, "the request ended in the middle of a message"));
  }

  /** Sends the response's header block unless it has been sent. */
  protected sendHead(): void {
    if (this.headSent || this.closed) return;
    this.headSent = true;
    this.connection.sender.headers(this.id, this.context.blocks.head, false);
  }

  /** Sends OK as the status. */
  complete(): void {
    this.stopListening();
    if (this.closed) return;
    this.sendHead();
    this.endSending(this.context.blocks.ok);
  }

  fail(error: StatusError): void {
    this.stopListening();
    if (this.closed) return;
    const fields: OutField[] = this.headSent ? [] : [...HEAD];
    this.headSent = true;
    fields.push({ name: "grpc-status", value: String(error.code) });
    if (error.message !== "") fields.push({ name: "grpc-message", value: encodeMessage(error.message) });
    if (error.code === Code.UNIMPLEMENTED) fields.push({ name: "grpc-accept-encoding", value: "identity" });
    this.endSending(fields);
  }
}

/** Deadline of a request that has just arrived, in milliseconds since the epoch; `Infinity` when it has none. */
export function deadlineOf({ timeoutMs }: RequestHead): number {
  return timeoutMs === Number.POSITIVE_INFINITY ? timeoutMs : Date.now() + timeoutMs;
}
