import type { RequestHead } from "../../http2/request.js";
import type { ServerConnection } from "../../http2/server.js";
import type { UnaryHandler } from "../../rpc/call.js";
import type { MethodStats } from "../../stats/methods.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { unread } from "../limit.js";
import { type CallContext, ServerCall } from "./call.js";

const EMPTY = new Uint8Array(0);
/** What a call in progress costs on top of its message, bytes. */
const CALL_COST = 2 * 1024;

/** One unary call: the handler runs when the request is complete. */
export class UnaryCall extends ServerCall {
  private request: Buffer | undefined;

  constructor(
    connection: ServerConnection,
    id: number,
    head: RequestHead,
    context: CallContext,
    method: MethodStats,
    private readonly handler: UnaryHandler,
  ) {
    super(connection, id, head, context, method);
  }

  protected onMessageBytes(message: Buffer): void {
    if (this.request === undefined) this.request = message;
    else
      this.shutdown(new StatusError(Code.UNIMPLEMENTED, "more than one request message for a unary method"));
  }

  protected onRemoteEnd(): void {
    const { request } = this;
    if (this.over) return;
    // A call may last long, and the request's memory is shared with others.
    this.request = undefined;
    if (request === undefined) {
      this.shutdown(new StatusError(Code.UNIMPLEMENTED, "no request message for a unary method"));
      return;
    }
    if (!this.occupy(request.length + CALL_COST)) {
      this.finish(etcd.tooManyRequests());
      return;
    }
    this.handler(this, request, (error, response) => {
      if (this.over) return;
      if (error === undefined && this.connection.sender.overfull) {
        // A client that asks on and on but does not read.
        this.finish(unread());
        return;
      }
      if (error === undefined) {
        const message = response ?? EMPTY;
        this.sendHead();
        this.sendMessage([message], message.length);
      }
      this.finish(error);
    });
  }

  protected onSent(): void {}
}
