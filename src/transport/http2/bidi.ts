import type { RequestHead } from "../../http2/request.js";
import type { ServerConnection } from "../../http2/server.js";
import type { StreamHandler, Usage } from "../../rpc/call.js";
import { type StreamCarrier, StreamState } from "../../rpc/streamState.js";
import type { MethodStats } from "../../stats/methods.js";
import { type CallContext, CallStream, deadlineOf } from "./call.js";

/** A bidirectional stream over HTTP/2. */
export class BidiStream extends CallStream implements StreamCarrier {
  readonly call: StreamState;

  constructor(
    connection: ServerConnection,
    id: number,
    head: RequestHead,
    context: CallContext,
    method: MethodStats,
    private readonly handler: StreamHandler,
  ) {
    super(connection, id, head, context, method);
    const { deadlines, highWaterBytes } = context;
    this.call = new StreamState(head.path, deadlineOf(head), this, highWaterBytes, deadlines);
  }

  override onOpen(): void {
    super.onOpen();
    if (!this.call.over) this.handler(this.call);
  }

  get queuedBytes(): number {
    return this.pendingBytes;
  }

  get isOverfull(): boolean {
    return this.connection.sender.overfull;
  }

  get usage(): Usage {
    return this.context.usage;
  }

  write(parts: readonly Uint8Array[]): void {
    let length = 0;
    for (const part of parts) length += part.length;
    this.sendHead();
    this.sendMessage(parts, length);
  }

  pause(): void {
    this.pauseReading();
  }

  resume(): void {
    this.resumeReading();
  }

  protected onMessageBytes(message: Buffer): void {
    if (!this.call.over) this.call.deliver(keepable(message));
  }

  protected onRemoteEnd(): void {
    this.call.deliverEnd();
  }

  protected onSent(): void {
    this.call.taken();
  }
}

/** Handlers keep stream messages for long, so a small one is copied: it must not pin a large chunk of the socket. */
function keepable(message: Buffer): Uint8Array {
  return message.length * 2 < message.buffer.byteLength ? new Uint8Array(message) : message;
}
