import type { RequestHead } from "../../http2/request.js";
import type { ServerConnection } from "../../http2/server.js";
import type { ServerStream, StreamHandler, Usage } from "../../rpc/call.js";
import type { MethodStats } from "../../stats/methods.js";
import type { StatusError } from "../../status/error.js";
import { type CallContext, ServerCall } from "./call.js";

/** One bidirectional stream. */
export class BidiStream extends ServerCall implements ServerStream {
  private blocked = false;
  private messageListener: ((message: Uint8Array) => void) | undefined;
  private endListener: (() => void) | undefined;
  private drainListener: (() => void) | undefined;

  constructor(
    connection: ServerConnection,
    id: number,
    head: RequestHead,
    context: CallContext,
    method: MethodStats,
    private readonly handler: StreamHandler,
  ) {
    super(connection, id, head, context, method);
  }

  override onOpen(): void {
    super.onOpen();
    if (!this.over) this.handler(this);
  }

  get queuedBytes(): number {
    return this.over ? 0 : this.pendingBytes;
  }

  get isOverfull(): boolean {
    return this.connection.sender.overfull;
  }

  get usage(): Usage {
    return this.context.usage;
  }

  onMessage(listener: (message: Uint8Array) => void): void {
    this.messageListener = listener;
  }

  onEnd(listener: () => void): void {
    this.endListener = listener;
  }

  onDrain(listener: () => void): void {
    this.drainListener = listener;
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.over) return true;
    let length = 0;
    for (let i = 0; i < parts.length; i++) length += parts[i].length;
    this.sendHead();
    this.sendMessage(parts, length);
    const { pendingBytes } = this;
    if (pendingBytes <= this.context.highWaterBytes && (pendingBytes === 0 || !this.isOverfull)) return true;
    this.blocked = true;
    return false;
  }

  pause(): void {
    this.pauseReading();
  }

  resume(): void {
    this.resumeReading();
  }

  end(error?: StatusError): void {
    this.finish(error);
  }

  protected onMessageBytes(message: Buffer): void {
    if (!this.over) this.messageListener?.(keepable(message));
  }

  protected onRemoteEnd(): void {
    if (!this.over) this.endListener?.();
  }

  protected onSent(): void {
    if (!this.blocked || this.over || this.pendingBytes > this.context.highWaterBytes / 2) return;
    this.blocked = false;
    this.drainListener?.();
  }
}

/** Messages of streams are kept for long: a small one must not hold on to a large chunk of the socket. */
function keepable(message: Buffer): Uint8Array {
  return message.length * 2 < message.buffer.byteLength ? new Uint8Array(message) : message;
}
