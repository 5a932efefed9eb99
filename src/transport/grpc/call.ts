import type { Metadata as GrpcMetadata, ServerErrorResponse } from "@grpc/grpc-js";
import type { Metadata } from "../../rpc/call.js";
import type { CallState, Carrier } from "../../rpc/callState.js";
import type { MethodStats } from "../../stats/methods.js";
import type { StatusError } from "../../status/error.js";
import type { CallObserver } from "../observer.js";

/** What unary and streaming server calls of grpc-js have in common. */
export interface SurfaceCall {
  readonly metadata: GrpcMetadata;
  getDeadline(): Date | number;
  once(event: "cancelled", listener: () => void): unknown;
}

/** A call over grpc-js, which enforces the deadline itself. */
export abstract class GrpcCarrier implements Carrier {
  abstract readonly call: CallState;
  readonly metadata: Metadata;
  private readonly since: number;

  constructor(
    surface: SurfaceCall,
    private readonly method: MethodStats,
    private readonly observer: CallObserver,
  ) {
    this.since = observer.began(method);
    this.metadata = {
      get: (name) => {
        const value = surface.metadata.get(name)[0];
        return value === undefined || typeof value === "string" ? value : value.toString("latin1");
      },
    };
    // grpc-js also emits this at the normal end of a call, where `cancel` does nothing.
    surface.once("cancelled", () => this.call.cancel());
  }

  abstract fail(error: StatusError): void;

  ended(error: StatusError | undefined): void {
    this.observer.ended(this.call, this.method, this.since, error);
  }
}

/** A `StatusError` in grpc-js' form. Lone surrogates are replaced first, because the library throws on them. */
export function failure(error: StatusError): Partial<ServerErrorResponse> & Error {
  const text = Buffer.from(error.message, "utf8").toString("utf8");
  return Object.assign(new Error(text), { code: error.code, details: text });
}

/** The same bytes, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
