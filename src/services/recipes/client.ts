import type { Call, Handlers } from "../../rpc/call.js";
import { Code, StatusError } from "../../status/error.js";
import {
  type Codec,
  DeleteRangeRequest,
  DeleteRangeResponse,
  type Init,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  RangeRequest,
  RangeResponse,
  type ResponseHeader,
  TxnRequest,
  TxnResponse,
  type WatchCreateRequest,
  WatchRequest,
  WatchResponse,
} from "../../wire/messages.js";
import { KV, Lease, Watch } from "../../wire/paths.js";
import { InternalStream, internalCall, invoke, type WithHeader, withHeader } from "../internalCall.js";

/**
 * Calls the proxy's own KV, Lease and Watch services in a client's name, and so with its permissions. All calls reject with
 * `StatusError`. Only `watch` ends when the client has gone.
 */
export class Client {
  private gone: StatusError | undefined;
  private onGone: ((reason: StatusError) => void) | undefined;
  private readonly forgetCall: () => void;

  constructor(
    private readonly handlers: Handlers,
    private readonly call: Call,
  ) {
    this.forgetCall = call.onCancel(() => this.leave(new StatusError(Code.CANCELLED, "context canceled")));
  }

  /** Marks the client as gone, with the reason. */
  leave(reason: StatusError): void {
    this.gone ??= reason;
    this.onGone?.(this.gone);
  }

  /** Throws the reason when the client has gone. */
  check(): void {
    if (this.gone !== undefined) throw this.gone;
  }

  get isGone(): boolean {
    return this.gone !== undefined;
  }

  /** Stops listening to the client's call. */
  close(): void {
    this.forgetCall();
  }

  range(request: Init<RangeRequest>): Promise<WithHeader<RangeResponse>> {
    return this.unary(KV.Range, RangeRequest.encode(request), RangeResponse);
  }

  txn(request: Init<TxnRequest>): Promise<WithHeader<TxnResponse>> {
    return this.unary(KV.Txn, TxnRequest.encode(request), TxnResponse);
  }

  delete(key: Uint8Array): Promise<WithHeader<DeleteRangeResponse>> {
    return this.unary(KV.DeleteRange, DeleteRangeRequest.encode({ key }), DeleteRangeResponse);
  }

  /** Resolves to the id of a new lease. */
  async grant(ttl: number): Promise<bigint> {
    const request = LeaseGrantRequest.encode({ ttl });
    return (await this.unary(Lease.LeaseGrant, request, LeaseGrantResponse)).id;
  }

  async revoke(id: bigint): Promise<void> {
    await this.unary(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id }), LeaseRevokeResponse);
  }

  /**
   * Yields the responses of a watch that have events. Ends when the next revision is compacted. Throws the reason when the
   * client has gone.
   */
  async *watch(request: Init<WatchCreateRequest>): AsyncGenerator<WithHeader<WatchResponse>, void> {
    const stream = new InternalStream(Watch.Watch, this.call);
    this.onGone = (reason) => stream.fail(reason);
    try {
      this.check();
      handlerOf(this.handlers.stream, Watch.Watch)(stream.call);
      stream.call.deliver(WatchRequest.encode({ kind: "create", request }));
      for (;;) {
        const response = withHeader(WatchResponse.decode(await stream.take()));
        if (response.events.length > 0) yield response;
        if (!response.canceled) continue;
        if (response.compactRevision > 0) return;
        throw new StatusError(Code.UNKNOWN, response.cancelReason || "etcd-braid: the watch was cancelled");
      }
    } finally {
      this.onGone = undefined;
      stream.call.cancel();
    }
  }

  private unary<R extends { readonly header?: ResponseHeader | undefined }>(
    path: string,
    request: Uint8Array,
    codec: Codec<R>,
  ): Promise<WithHeader<R>> {
    return invoke(handlerOf(this.handlers.unary, path), internalCall(path, this.call), request, codec);
  }
}

function handlerOf<H>(handlers: ReadonlyMap<string, H>, path: string): H {
  const handler = handlers.get(path);
  if (handler === undefined) throw new Error(`no service has the method ${path}`);
  return handler;
}
