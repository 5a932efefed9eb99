import type { ServerDuplexStream } from "@grpc/grpc-js";
import { type StreamCarrier, StreamState } from "../../rpc/streamState.js";
import type { MethodStats } from "../../stats/methods.js";
import type { StatusError } from "../../status/error.js";
import { joined } from "../joined.js";
import { tooLarge } from "../limits.js";
import type { CallObserver } from "../observer.js";
import { asBuffer, failure, GrpcCarrier } from "./call.js";

export interface StreamLimits {
  readonly maxReceiveBytes: number;
  /** Queued bytes above which `send` returns false. */
  readonly highWaterBytes: number;
}

/** A bidirectional stream over grpc-js. */
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
      // A write to a client that has gone. The handler learns of it from "cancelled".
    });
  }

  write(parts: readonly Uint8Array[]): void {
    const message = asBuffer(joined(parts));
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
    // Queued messages are sent first.
    this.duplex.emit("error", failure(error));
    this.ignoreRest();
  }

  /** Discards what the client still sends. */
  private ignoreRest(): void {
    this.duplex.resume();
  }

  override ended(error: StatusError | undefined): void {
    this.onEnded();
    super.ended(error);
  }
}
