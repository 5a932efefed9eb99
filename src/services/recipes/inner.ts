import type { Call, Metadata, ServerStream } from "../../rpc/call.js";
import type { Caller } from "../../shard/caller.js";
import { Code, StatusError } from "../../status/error.js";

/** Bytes that wait to be taken above which a handler is told to stop. */
const HIGH_WATER = 64 * 1024;

/**
 * A call of the proxy to one of its own handlers, in the name of a client but not ended with the client's call: only
 * its answer tells whether a write was made.
 */
export class InnerCall implements Call {
  readonly metadata: Metadata;
  readonly caller: Caller | undefined;
  readonly deadline = Number.POSITIVE_INFINITY;
  cancelled = false;
  private readonly listeners = new Set<() => void>();

  constructor(
    readonly path: string,
    { metadata, caller }: Pick<Call, "metadata" | "caller">,
  ) {
    this.metadata = metadata;
    this.caller = caller;
  }

  onCancel(listener: () => void): () => void {
    if (this.cancelled) listener();
    else this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  cancel(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    for (const listener of this.listeners) listener();
  }
}

/** The same for a stream: the handler has the server's end, the caller makes one request and takes what comes. */
export class InnerStream extends InnerCall implements ServerStream {
  queuedBytes = 0;
  private readonly queue: Uint8Array[] = [];
  private blocked = false;
  private failure: StatusError | undefined;
  private messageListener: ((message: Uint8Array) => void) | undefined;
  private drainListener: (() => void) | undefined;
  private wake: (() => void) | undefined;

  /** Brings the handler its one message. */
  request(message: Uint8Array): void {
    this.messageListener?.(message);
  }

  /** The next message, once there is one. Rejects with what `end` was given. For one caller at a time. */
  async take(): Promise<Uint8Array> {
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const message = this.queue.shift();
      if (message !== undefined) {
        this.taken(message.length);
        return message;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  onMessage(listener: (message: Uint8Array) => void): void {
    this.messageListener = listener;
  }

  /** There is no end of what the caller sends before `cancel`. */
  onEnd(): void {}

  onDrain(listener: () => void): void {
    this.drainListener = listener;
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.cancelled || this.failure !== undefined) return true;
    const message = Buffer.concat(parts);
    this.queue.push(message);
    this.queuedBytes += message.length;
    this.blocked ||= this.queuedBytes > HIGH_WATER;
    this.wake?.();
    return !this.blocked;
  }

  /** There is one message to the handler and no more, so nothing to stop. */
  pause(): void {}
  resume(): void {}

  end(error = new StatusError(Code.UNAVAILABLE, "etcd-braid: the stream has ended")): void {
    this.failure ??= error;
    this.wake?.();
  }

  private taken(bytes: number): void {
    this.queuedBytes -= bytes;
    if (!this.blocked || this.queuedBytes > HIGH_WATER / 2) return;
    this.blocked = false;
    this.drainListener?.();
  }
}
