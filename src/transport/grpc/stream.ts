import type { ServerDuplexStream } from "@grpc/grpc-js";
import type { ServerStream } from "../../rpc/call.js";
import type { MethodStats } from "../../stats/methods.js";
import type { StatusError } from "../../status/error.js";
import { tooLarge } from "../limit.js";
import type { CallObserver } from "../observer.js";
import { failure, GrpcCall } from "./call.js";

export interface StreamLimits {
  readonly maxReceiveBytes: number;
  /** Queued bytes above which `send` answers false. */
  readonly highWaterBytes: number;
}

/** One bidirectional stream over grpc-js. */
export class GrpcStream extends GrpcCall implements ServerStream {
  private queued = 0;
  private blocked = false;
  private over = false;
  private messageListener: ((message: Uint8Array) => void) | undefined;
  private endListener: (() => void) | undefined;
  private drainListener: (() => void) | undefined;

  constructor(
    private readonly duplex: ServerDuplexStream<Buffer, Buffer>,
    method: MethodStats,
    observer: CallObserver,
    private readonly limits: StreamLimits,
    private readonly onClose: () => void,
  ) {
    super(duplex, method, observer);
    duplex.on("data", (message: Buffer) => {
      if (this.over) return;
      if (message.length > limits.maxReceiveBytes) this.end(tooLarge(message.length, limits.maxReceiveBytes));
      else this.messageListener?.(message);
    });
    duplex.on("end", () => {
      if (!this.over) this.endListener?.();
    });
    duplex.on("error", () => {
      // A write to a client that has gone; the cancellation tells the handler.
    });
  }

  get queuedBytes(): number {
    return this.queued;
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
    if (this.over || this.cancelled) return true;
    const message = parts.length === 1 ? copyless(parts[0]!) : Buffer.concat(parts);
    const size = message.length;
    this.queued += size;
    this.duplex.write(message, () => this.taken(size));
    if (this.queued <= this.limits.highWaterBytes) return true;
    this.blocked = true;
    return false;
  }

  pause(): void {
    this.duplex.pause();
  }

  resume(): void {
    this.duplex.resume();
  }

  end(error?: StatusError): void {
    if (this.over || this.cancelled) return;
    this.finish(error);
    this.close(error);
  }

  /** Ends the stream because the server stops; the handler sees a cancellation. */
  shutdown(error: StatusError): void {
    if (this.over || this.cancelled) return;
    this.close(error);
    super.cancel(error);
  }

  private close(error: StatusError | undefined): void {
    this.over = true;
    this.onClose();
    // Either way what is queued goes out first.
    if (error) this.duplex.emit("error", failure(error));
    else this.duplex.end();
    // What the client still sends is dropped.
    this.duplex.resume();
  }

  protected override cancel(error?: StatusError): void {
    if (!this.over) this.onClose();
    this.queued = 0;
    super.cancel(error);
  }

  private taken(size: number): void {
    if (this.over || this.cancelled) return;
    this.queued -= size;
    if (!this.blocked || this.queued > this.limits.highWaterBytes / 2) return;
    this.blocked = false;
    this.drainListener?.();
  }
}

function copyless(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
