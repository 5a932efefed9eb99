import type { ServerDuplexStream } from "@grpc/grpc-js";
import { type StreamCarrier, StreamState } from "../../rpc/streamState.js";
import type { MethodStats } from "../../stats/methods.js";
import type { StatusError } from "../../status/error.js";
import { tooLarge } from "../limit.js";
import type { CallObserver } from "../observer.js";
import { asBuffer, failure, GrpcCarrier } from "./call.js";

export interface StreamLimits {
  readonly maxReceiveBytes: number;
  /** Queued bytes above which `send` answers false. */
  readonly highWaterBytes: number;
}

/** One bidirectional stream over grpc-js. */
export class GrpcStream extends GrpcCarrier implements StreamCarrier {
  readonly call: StreamState;
  readonly isOverfull = false;
  queuedBytes = 0;

  constructor(
    private readonly duplex: ServerDuplexStream<Buffer, Buffer>,
    method: MethodStats,
    observer: CallObserver,
    { maxReceiveBytes, highWaterBytes }: StreamLimits,
    private readonly onEnded: () => void,
  ) {
    super(duplex, method, observer);
    const call = new StreamState(method.path, Number(duplex.getDeadline()), this, highWaterBytes);
    this.call = call;
    duplex.on("data", (message: Buffer) => {
      if (message.length > maxReceiveBytes) call.fail(tooLarge(message.length, maxReceiveBytes));
      else call.deliver(message);
    });
    duplex.on("end", () => call.deliverEnd());
    duplex.on("error", () => {
      // A write to a client that has gone; the cancellation tells the handler.
    });
  }

  write(parts: readonly Uint8Array[]): void {
    const message = parts.length === 1 ? asBuffer(parts[0]!) : Buffer.concat(parts);
    const size = message.length;
    this.queuedBytes += size;
    this.duplex.write(message, () => {
      this.queuedBytes -= size;
      this.call.taken();
    });
  }

  pause(): void {
    this.duplex.pause();
  }

  resume(): void {
    this.duplex.resume();
  }

  complete(): void {
    this.duplex.end();
    this.ignoreRest();
  }

  fail(error: StatusError): void {
    // What is queued goes out first.
    this.duplex.emit("error", failure(error));
    this.ignoreRest();
  }

  /** What the client still sends is dropped. */
  private ignoreRest(): void {
    this.duplex.resume();
  }

  override ended(error: StatusError | undefined): void {
    this.onEnded();
    super.ended(error);
  }
}
