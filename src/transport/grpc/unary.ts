import type { ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import type { UnaryHandler } from "../../rpc/call.js";
import { CallState } from "../../rpc/callState.js";
import type { MethodStats } from "../../stats/methods.js";
import type { StatusError } from "../../status/error.js";
import { tooLarge } from "../limits.js";
import type { CallObserver } from "../observer.js";
import { asBuffer, failure, GrpcCarrier } from "./call.js";

const EMPTY = Buffer.alloc(0);

/** A unary call over grpc-js. */
export class GrpcUnary extends GrpcCarrier {
  readonly call: CallState;

  constructor(
    private readonly surface: ServerUnaryCall<Buffer, Buffer>,
    private readonly done: sendUnaryData<Buffer>,
    method: MethodStats,
    observer: CallObserver,
  ) {
    super(surface, method, observer);
    this.call = new CallState(method.path, Number(surface.getDeadline()), this);
  }

  /** Runs the handler, unless the request is larger than `maxReceiveBytes`. */
  run(handler: UnaryHandler, maxReceiveBytes: number): void {
    const { call } = this;
    const { request } = this.surface;
    if (request.length > maxReceiveBytes) {
      call.fail(tooLarge(request.length, maxReceiveBytes));
      return;
    }
    handler(call, request, (error, response) => {
      if (error !== undefined) call.fail(error);
      else if (call.finish()) this.done(null, response === undefined ? EMPTY : asBuffer(response));
    });
  }

  fail(error: StatusError): void {
    this.done(failure(error));
  }
}
