import type { Metadata as GrpcMetadata, ServerErrorResponse } from "@grpc/grpc-js";
import type { StatusError } from "../../status/error.js";
import type { Call, Metadata } from "../transport.js";

/** The part of grpc-js' server calls that both kinds share. */
export interface SurfaceCall {
  readonly cancelled: boolean;
  readonly metadata: GrpcMetadata;
  getDeadline(): Date | number;
  once(event: "cancelled", listener: () => void): unknown;
}

/** One call as handlers see it. */
export class GrpcCall implements Call {
  readonly metadata: Metadata;
  private finished = false;
  private wasCancelled = false;
  private listeners: Set<() => void> | undefined;

  constructor(
    readonly path: string,
    private readonly call: SurfaceCall,
  ) {
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
  finish(): boolean {
    if (this.finished) return false;
    this.finished = true;
    this.listeners = undefined;
    return true;
  }

  /** Tells the handler, unless it is done, that nobody waits for it any more. */
  protected cancel(): void {
    if (this.finished || this.wasCancelled) return;
    this.wasCancelled = true;
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
