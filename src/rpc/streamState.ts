import type { StatusError } from "../status/error.js";
import type { Deadlines } from "../turn/deadlines.js";
import type { ServerStream, Usage } from "./call.js";
import { CallState, type Carrier } from "./callState.js";

/** The transport's half of a stream. */
export interface StreamCarrier extends Carrier {
  /** Bytes that were written and not taken yet. */
  readonly queuedBytes: number;
  /** True while the client, or all clients together, leave too much unread. */
  readonly isOverfull: boolean;
  readonly usage?: Usage | undefined;
  /** Queues one message, given in parts. The carrier calls `StreamState.taken` when some of it was taken. */
  write(parts: readonly Uint8Array[]): void;
  /** Stops the delivery of messages until `resume`. */
  pause(): void;
  resume(): void;
  /** Sends the client OK as the status, after all messages. Called after `ended`. */
  complete(): void;
}

/** The state of one stream, and the handler's view of it. */
export class StreamState extends CallState implements ServerStream {
  declare protected readonly carrier: StreamCarrier;
  /** True after `send` has returned false, until `onDrain` is called. */
  private blocked = false;
  private messageListener: ((message: Uint8Array) => void) | undefined = undefined;
  private endListener: (() => void) | undefined = undefined;
  private drainListener: (() => void) | undefined = undefined;

  /** `send` returns false above `highWaterBytes` in the queue. At half of it, the stream has drained. */
  constructor(
    path: string,
    deadline: number,
    carrier: StreamCarrier,
    private readonly highWaterBytes: number,
    deadlines?: Deadlines<CallState>,
  ) {
    super(path, deadline, carrier, deadlines);
  }

  get queuedBytes(): number {
    return this.over ? 0 : this.carrier.queuedBytes;
  }

  get isOverfull(): boolean {
    return this.carrier.isOverfull;
  }

  get usage(): Usage | undefined {
    return this.carrier.usage;
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
    this.carrier.write(parts);
    const { queuedBytes } = this;
    // With an empty queue, `onDrain` would never be called.
    if (queuedBytes <= this.highWaterBytes && (queuedBytes === 0 || !this.isOverfull)) return true;
    this.blocked = true;
    return false;
  }

  pause(): void {
    this.carrier.pause();
  }

  resume(): void {
    this.carrier.resume();
  }

  end(error?: StatusError): void {
    if (error !== undefined) this.fail(error);
    else if (this.finish()) this.carrier.complete();
  }

  /** Delivers the client's next message. */
  deliver(message: Uint8Array): void {
    if (!this.over) this.messageListener?.(message);
  }

  /** Delivers the client's half-close. */
  deliverEnd(): void {
    if (!this.over) this.endListener?.();
  }

  /** Called by the carrier when some of the queue was taken. */
  taken(): void {
    if (!this.blocked || this.over || this.carrier.queuedBytes > this.highWaterBytes / 2) return;
    this.blocked = false;
    this.drainListener?.();
  }
}
