import type { Metadata as GrpcMetadata, ServerErrorResponse } from "@grpc/grpc-js";
import type { Call, Metadata } from "../../rpc/call.js";
import type { Caller } from "../../shard/caller.js";
import type { SlowCall } from "../../shard/shard.js";
import type { MethodStats } from "../../stats/methods.js";
import type { StatusError } from "../../status/error.js";
import { type CallObserver, cancelled } from "../observer.js";

/** The part of grpc-js' server calls that both kinds share. */
export interface SurfaceCall {
  readonly cancelled: boolean;
  readonly metadata: GrpcMetadata;
  getDeadline(): Date | number;
  once(event: "cancelled", listener: () => void): unknown;
}

/** One call as handlers see it. */
export class GrpcCall implements Call {
  readonly path: string;
  readonly metadata: Metadata;
  slowest: SlowCall | undefined = undefined;
  caller: Caller | undefined = undefined;
  private finished = false;
  private wasCancelled = false;
  private listeners: Set<() => void> | undefined;
  private readonly since: number;

  constructor(
    private readonly call: SurfaceCall,
    private readonly method: MethodStats,
    private readonly observer: CallObserver,
  ) {
    this.path = method.path;
    this.since = observer.began(method);
    this.metadata = {
      get: (name) => {
        const value = call.metadata.get(name)[0];
        return value === undefined || typeof value === "string" ? value : value.toString("latin1");
      },
    };
    // grpc-js reports the normal end of a call as a cancellation, too.
    call.once("cancelled", () => this.cancel());
  }

  get deadline(): number {
    return Number(this.call.getDeadline());
  }

  get cancelled(): boolean {
    return this.wasCancelled || (!this.finished && this.call.cancelled);
  }

  onCancel(listener: () => void): () => void {
    if (this.cancelled) {
      listener();
      return () => {};
    }
    if (this.finished) return () => {};
    this.listeners ??= new Set();
    this.listeners.add(listener);
    return () => this.listeners?.delete(listener);
  }

  /** The handler is done. False when it was done before. */
  finish(error?: StatusError): boolean {
    if (this.finished) return false;
    this.finished = true;
    this.listeners = undefined;
    if (!this.wasCancelled) this.observer.ended(this, this.method, this.since, error);
    return true;
  }

  /** Tells the handler, unless it is done, that nobody waits for it any more. */
  protected cancel(error: StatusError = cancelled): void {
    if (this.finished || this.wasCancelled) return;
    this.wasCancelled = true;
    this.observer.ended(this, this.method, this.since, error);
    const listeners = this.listeners;
    this.listeners = undefined;
    for (const listener of listeners ?? []) listener();
  }
}

/** A `StatusError` as grpc-js wants it. The text is made well-formed first: the library throws on half a surrogate pair. */
export function failure(error: StatusError): Partial<ServerErrorResponse> & Error {
  const text = Buffer.from(error.message, "utf8").toString("utf8");
  return Object.assign(new Error(text), { code: error.code, details: text });
}
