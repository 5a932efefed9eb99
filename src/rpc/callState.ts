import type { Caller } from "../shard/caller.js";
import type { SlowCall } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import type { Deadlines, Timed } from "../turn/deadlines.js";
import type { Call, Metadata } from "./call.js";

/** The transport's half of a call. `CallState` calls each method at most once. */
export interface Carrier {
  readonly metadata: Metadata;
  /** Called when the call is over. `error` is its status, or CANCELLED when the client has gone. */
  ended(error: StatusError | undefined): void;
  /** Sends the client an error as the status, after all messages. Called after `ended`. */
  fail(error: StatusError): void;
  /** True while no other client is served. Absent where that is not known. */
  readonly isAlone?: boolean;
  /** Calls `begin` when a call that takes long may go on, unless it is over by then. Absent where calls take no turns. */
  whenLongTurn?(begin: () => void): void;
}

/** The status of calls whose client has gone. */
const CLIENT_GONE = new StatusError(Code.CANCELLED, "context canceled");

const OPEN = 0;
const FINISHED = 1;
const CANCELLED = 2;
type Phase = typeof OPEN | typeof FINISHED | typeof CANCELLED;

/**
 * The state of one call, and the handler's view of it, independent of the transport. A call is over when its handler has
 * finished it, or when it was cancelled.
 */
export class CallState implements Call, Timed<CallState> {
  before: CallState | undefined = undefined;
  after: CallState | undefined = undefined;
  caller: Caller | undefined = undefined;
  slowest: SlowCall | undefined = undefined;
  trace: string | undefined = undefined;
  private phase: Phase = OPEN;
  /** The list that the call is in while it is open and has a deadline. */
  private deadlines: Deadlines<CallState> | undefined = undefined;
  /** The first listener. Most calls have no other. */
  private listener: (() => void) | undefined = undefined;
  private moreListeners: Set<() => void> | undefined = undefined;

  /**
   * `deadline` is in milliseconds since the epoch, or `Infinity`. `deadlines` enforces it. Without `deadlines`, the
   * carrier has to.
   */
  constructor(
    readonly path: string,
    readonly deadline: number,
    protected readonly carrier: Carrier,
    deadlines?: Deadlines<CallState>,
  ) {
    if (deadlines === undefined || deadline === Number.POSITIVE_INFINITY) return;
    this.deadlines = deadlines;
    deadlines.add(this);
  }

  get metadata(): Metadata {
    return this.carrier.metadata;
  }

  get isAlone(): boolean | undefined {
    return this.carrier.isAlone;
  }

  get cancelled(): boolean {
    return this.phase === CANCELLED;
  }

  /** True once the handler has finished the call, or it was cancelled. */
  get over(): boolean {
    return this.phase !== OPEN;
  }

  onCancel(listener: () => void): () => void {
    if (this.phase === CANCELLED) {
      listener();
      return () => {};
    }
    if (this.phase === FINISHED) return () => {};
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

  async longTurn(): Promise<void> {
    const { carrier } = this;
    if (this.over || carrier.whenLongTurn === undefined) return;
    await new Promise<void>((resolve) => {
      this.onCancel(resolve);
      carrier.whenLongTurn!(resolve);
    });
  }

  /** Ends the call for the handler. The caller sends the response. Returns false when the call was over before. */
  finish(error?: StatusError): boolean {
    if (this.over) return false;
    this.listener = undefined;
    this.moreListeners = undefined;
    this.close(FINISHED, error);
    return true;
  }

  /** Ends the call for the handler, and sends the client `error`. Does nothing when the call was over before. */
  fail(error: StatusError): void {
    if (this.finish(error)) this.carrier.fail(error);
  }

  /** Cancels the handler when the client has gone. Does nothing when the call was over before. */
  cancel(): void {
    if (this.over) return;
    this.close(CANCELLED, CLIENT_GONE);
    this.notify();
  }

  /** Ends the call with `error` and cancels the handler. Does nothing when the call was over before. */
  abort(error: StatusError): void {
    if (this.over) return;
    this.close(CANCELLED, error);
    this.carrier.fail(error);
    this.notify();
  }

  /** Ends the call when its deadline has passed. */
  expire(): void {
    this.abort(new StatusError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"));
  }

  private close(phase: Phase, error: StatusError | undefined): void {
    this.phase = phase;
    if (this.deadlines !== undefined) {
      this.deadlines.delete(this);
      this.deadlines = undefined;
    }
    this.carrier.ended(error);
  }

  private notify(): void {
    const { listener, moreListeners } = this;
    this.listener = undefined;
    this.moreListeners = undefined;
    listener?.();
    if (moreListeners !== undefined) for (const more of moreListeners) more();
  }
}
