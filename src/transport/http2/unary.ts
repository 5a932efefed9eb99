import type { RequestHead } from "../../http2/request.js";
import type { ServerConnection } from "../../http2/server.js";
import type { UnaryHandler } from "../../rpc/call.js";
import { CallState } from "../../rpc/callState.js";
import type { MethodStats } from "../../stats/methods.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { Election, Lock } from "../../wire/paths.js";
import { unread } from "../limits.js";
import type { Waiting } from "../turnstile.js";
import { type CallContext, CallStream, deadlineOf } from "./call.js";

const EMPTY = new Uint8Array(0);
/** Memory of a call in progress on top of its message. */
const CALL_OVERHEAD_BYTES = 2 * 1024;

/** Methods that wait for other clients, so that their calls take no turns. */
const WAITING: ReadonlySet<string> = new Set([Lock.Lock, Election.Campaign]);

/** A unary call over HTTP/2. Its handler runs when the request is complete and the connection has its turn. */
export class UnaryStream extends CallStream implements Waiting {
  readonly call: CallState;
  private request: Buffer | undefined;
  /** True while the lane counts the call. */
  private counted = false;
  /** True while it has the turn for long calls. */
  private isLong = false;

  constructor(
    connection: ServerConnection,
    id: number,
    head: RequestHead,
    context: CallContext,
    method: MethodStats,
    private readonly handler: UnaryHandler,
  ) {
    super(connection, id, head, context, method);
    this.call = new CallState(head.path, deadlineOf(head), this, context.deadlines);
  }

  protected onMessageBytes(message: Buffer): void {
    if (this.request === undefined) this.request = message;
    else
      this.call.abort(
        new StatusError(Code.UNIMPLEMENTED, "more than one request message for a unary method"),
      );
  }

  protected onRemoteEnd(): void {
    const { call, request } = this;
    if (call.over) return;
    if (request === undefined) {
      call.abort(new StatusError(Code.UNIMPLEMENTED, "no request message for a unary method"));
      return;
    }
    if (!this.occupy(request.length + CALL_OVERHEAD_BYTES)) {
      call.fail(etcd.tooManyRequests());
      return;
    }
    if (WAITING.has(call.path)) this.handle(request);
    else this.context.lane.enter(this);
  }

  get isOver(): boolean {
    return this.call.over;
  }

  begin(): void {
    this.counted = true;
    this.handle(this.request!);
  }

  override ended(error: StatusError | undefined): void {
    super.ended(error);
    const { lane } = this.context;
    if (this.isLong) lane.long.leave();
    if (!this.counted) return;
    this.counted = false;
    lane.leave();
  }

  get isAlone(): boolean {
    return this.context.lane.isAlone;
  }

  whenLongTurn(begin: () => void): void {
    if (this.isLong) {
      begin();
      return;
    }
    const stream = this;
    this.context.lane.long.enter({
      get isOver() {
        return stream.isOver;
      },
      begin() {
        stream.isLong = true;
        begin();
      },
    });
  }

  private handle(request: Buffer): void {
    const { call } = this;
    // Release the message: a call may last long, and its memory is shared with other requests.
    this.request = undefined;
    this.handler(call, request, (error, response) => {
      if (call.over) return;
      if (error !== undefined) {
        call.fail(error);
        return;
      }
      if (this.connection.sender.overfull) {
        // The client keeps sending requests but does not read the responses.
        call.fail(unread());
        return;
      }
      const message = response ?? EMPTY;
      this.sendHead();
      this.sendMessage([message], message.length);
      call.finish();
      this.complete();
    });
  }

  protected onSent(): void {}
}
