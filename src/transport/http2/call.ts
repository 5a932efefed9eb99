import { Block, type OutField } from "../../http2/hpack/encoder.js";
import type { Field } from "../../http2/hpack/table.js";
import { ErrorCode } from "../../http2/protocol.js";
import type { RequestHead } from "../../http2/request.js";
import type { ServerConnection } from "../../http2/server.js";
import { Stream } from "../../http2/stream.js";
import { encodeMessage } from "../../http2/text.js";
import type { Call, Metadata, Usage } from "../../rpc/call.js";
import type { Caller } from "../../shard/caller.js";
import type { SlowCall } from "../../shard/shard.js";
import type { MethodStats } from "../../stats/methods.js";
import { Code, StatusError } from "../../status/error.js";
import type { Deadlines, Timed } from "../../turn/deadlines.js";
import { tooLarge } from "../limit.js";
import type { CallObserver } from "../observer.js";
import { cancelled } from "../observer.js";

const HEAD: readonly OutField[] = [
  { name: ":status", value: "200" },
  { name: "content-type", value: "application/grpc", repeats: true },
];

/** The header blocks that all successful calls of one connection share. */
export class ResponseBlocks {
  readonly head = new Block(HEAD);
  readonly ok = new Block([{ name: "grpc-status", value: "0", repeats: true }]);
}

/** What all calls of a connection share. */
export interface CallContext {
  readonly blocks: ResponseBlocks;
  readonly maxReceiveBytes: number;
  /** Queued bytes above which `send` answers false. */
  readonly highWaterBytes: number;
  readonly observer: CallObserver;
  /** The calls that have a deadline. */
  readonly deadlines: Deadlines<ServerCall>;
  readonly usage: Usage;
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

/** One gRPC call as handlers see it, and the stream that carries it. */
export abstract class ServerCall extends Stream implements Call, Timed<ServerCall> {
  before: ServerCall | undefined = undefined;
  after: ServerCall | undefined = undefined;
  readonly path: string;
  readonly deadline: number;
  slowest: SlowCall | undefined = undefined;
  caller: Caller | undefined = undefined;
  /** In the list of those that have a deadline. */
  private timed = false;
  private headSent = false;
  private finished = false;
  private wasCancelled = false;
  /** Who wants to know of a cancellation; nearly always one at most. */
  private listener: (() => void) | undefined = undefined;
  private moreListeners: Set<() => void> | undefined = undefined;
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
    this.path = head.path;
    const { timeoutMs } = head;
    this.deadline = timeoutMs === Number.POSITIVE_INFINITY ? timeoutMs : Date.now() + timeoutMs;
  }

  get metadata(): Metadata {
    return new HeadMetadata(this.head.fields);
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
    if (this.listener === undefined) this.listener = listener;
    else {
      this.moreListeners ??= new Set();
      this.moreListeners.add(listener);
    }
    return () => {
      if (this.listener === listener) this.listener = undefined;
      else this.moreListeners?.delete(listener);
    };
  }

  onOpen(): void {
    if (this.head.badTimeout) this.finish(new StatusError(Code.INTERNAL, "malformed grpc-timeout"));
    else if (this.deadline !== Number.POSITIVE_INFINITY) {
      this.timed = true;
      this.context.deadlines.add(this);
    }
  }

  onAborted(_code: ErrorCode | undefined, _reason: string): void {
    this.cancel();
  }

  onLocalEnd(): void {
    // The whole answer is out, the client need not go on.
    this.connection.abandon(this, ErrorCode.NO_ERROR);
  }

  /** True once the handler is done, or nobody waits for it any more. */
  protected get over(): boolean {
    return this.finished || this.wasCancelled;
  }

  /** Ends the call with a status, after all that was sent. False when it was over before. */
  protected finish(error?: StatusError): boolean {
    if (this.over) return false;
    this.finished = true;
    this.settled();
    this.stopListening();
    this.sendStatus(error);
    this.context.observer.ended(this, this.method, this.since, error);
    return true;
  }

  /** Tells the handler, unless it is done, that nobody waits for it any more. */
  protected cancel(error: StatusError = cancelled): void {
    if (this.over) return;
    this.wasCancelled = true;
    this.context.observer.ended(this, this.method, this.since, error);
    const { listener, moreListeners } = this;
    this.settled();
    listener?.();
    if (moreListeners !== undefined) for (const listener of moreListeners) listener();
  }

  private settled(): void {
    this.listener = undefined;
    this.moreListeners = undefined;
    if (this.timed) this.context.deadlines.delete(this);
    this.timed = false;
  }

  /** Ends the call with `error`; the handler sees a cancellation. */
  shutdown(error: StatusError): void {
    if (this.over) return;
    this.stopListening();
    this.sendStatus(error);
    this.cancel(error);
  }

  protected onBadMessage(problem: "too large" | "compressed" | "truncated", size: number): void {
    if (problem === "too large") this.shutdown(tooLarge(size, this.context.maxReceiveBytes));
    else if (problem === "compressed") {
      this.shutdown(new StatusError(Code.UNIMPLEMENTED, "grpc: compressed messages are not supported"));
    } else this.shutdown(new StatusError(Code.INTERNAL, "the request ended inside of a message"));
  }

  /** Sends the response's header block unless it has been sent. */
  protected sendHead(): void {
    if (this.headSent || this.closed) return;
    this.headSent = true;
    this.connection.sender.headers(this.id, this.context.blocks.head, false);
  }

  private sendStatus(error: StatusError | undefined): void {
    if (this.closed) return;
    if (error === undefined) {
      this.sendHead();
      this.endSending(this.context.blocks.ok);
      return;
    }
    const fields: OutField[] = this.headSent ? [] : [...HEAD];
    this.headSent = true;
    fields.push({ name: "grpc-status", value: String(error.code) });
    if (error.message !== "") fields.push({ name: "grpc-message", value: encodeMessage(error.message) });
    if (error.code === Code.UNIMPLEMENTED) fields.push({ name: "grpc-accept-encoding", value: "identity" });
    this.endSending(fields);
  }

  /** The deadline has passed. */
  expire(): void {
    this.shutdown(new StatusError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"));
  }
}
