import type { Call, Metadata } from "../rpc/call.js";
import { CallState } from "../rpc/callState.js";
import { type StreamCarrier, StreamState } from "../rpc/streamState.js";
import { Code, StatusError } from "../status/error.js";

/** The client's call that an internal one is made for. */
type Client = Pick<Call, "metadata" | "caller">;

/** Queued bytes above which a handler is told to stop. */
const HIGH_WATER_BYTES = 64 * 1024;

/**
 * A call of the proxy to one of its own handlers, in the name of a client. It does not end with the client's call: only
 * its answer says whether a write was made.
 */
export function internalCall(path: string, { metadata, caller }: Client): CallState {
  const call = new CallState(path, Number.POSITIVE_INFINITY, { metadata, ended() {}, fail() {} });
  call.caller = caller;
  return call;
}

/** The same for a stream: the handler gets `call`, the proxy makes one request and takes what comes. */
export class InternalStream implements StreamCarrier {
  readonly call: StreamState;
  readonly metadata: Metadata;
  readonly isOverfull = false;
  queuedBytes = 0;
  private readonly queue: Uint8Array[] = [];
  private failure: StatusError | undefined;
  private wake: (() => void) | undefined;

  constructor(path: string, { metadata, caller }: Client) {
    this.metadata = metadata;
    this.call = new StreamState(path, Number.POSITIVE_INFINITY, this, HIGH_WATER_BYTES);
    this.call.caller = caller;
  }

  /** The next message, once there is one. Rejects when the stream has ended. For one reader at a time. */
  async take(): Promise<Uint8Array> {
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const message = this.queue.shift();
      if (message !== undefined) {
        this.queuedBytes -= message.length;
        this.call.taken();
        return message;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  ended(): void {}

  /** `take` rejects with `error` from now on. */
  fail(error: StatusError): void {
    this.failure ??= error;
    this.wake?.();
  }

  write(parts: readonly Uint8Array[]): void {
    const message = Buffer.concat(parts);
    this.queue.push(message);
    this.queuedBytes += message.length;
    this.wake?.();
  }

  complete(): void {
    this.fail(new StatusError(Code.UNAVAILABLE, "etcd-braid: the stream has ended"));
  }

  /** There is one message to the handler and no more, so nothing to stop. */
  pause(): void {}
  resume(): void {}
}
