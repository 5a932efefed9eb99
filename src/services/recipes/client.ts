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
  TxnRequest,
  TxnResponse,
  type WatchCreateRequest,
  WatchRequest,
  WatchResponse,
} from "../../wire/messages.js";
import { KV, Lease, Watch } from "../../wire/paths.js";
import { InternalStream, internalCall } from "../internalCall.js";

/**
 * A client for whom the proxy calls its own KV, Lease and Watch services: what the client may not do, is not done
 * for it. All calls reject with `StatusError`; only `watch` ends when the client has gone.
 */
export class Client {
  private gone: StatusError | undefined;
  private onGone: (() => void) | undefined;
  private readonly forgetCall: () => void;

  constructor(
    private readonly handlers: Handlers,
    private readonly call: Call,
  ) {
    this.forgetCall = call.onCancel(() => this.leave(new StatusError(Code.CANCELLED, "context canceled")));
  }

  /** Nobody waits for an answer any more, for this reason. */
  leave(reason: StatusError): void {
    this.gone ??= reason;
    this.onGone?.();
  }

  /** Throws when nobody waits for an answer any more. */
  check(): void {
    if (this.gone !== undefined) throw this.gone;
  }

  get isGone(): boolean {
    return this.gone !== undefined;
  }

  /** Ends the connection to the client's call. */
  close(): void {
    this.forgetCall();
  }

  range(request: Init<RangeRequest>): Promise<RangeResponse> {
    return this.unary(KV.Range, RangeRequest.encode(request), RangeResponse);
  }

  txn(request: Init<TxnRequest>): Promise<TxnResponse> {
    return this.unary(KV.Txn, TxnRequest.encode(request), TxnResponse);
  }

  delete(key: Uint8Array): Promise<DeleteRangeResponse> {
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
   * The responses of a watch that have events. They end when what comes next was compacted; throws the reason when the
   * client has gone.
   */
  async *watch(request: Init<WatchCreateRequest>): AsyncGenerator<WatchResponse, void> {
    const stream = new InternalStream(Watch.Watch, this.call);
    this.onGone = () => stream.fail(this.gone!);
    try {
      this.check();
      this.handlers.stream.get(Watch.Watch)!(stream.call);
      stream.call.deliver(WatchRequest.encode({ kind: "create", request }));
      for (;;) {
        const response = WatchResponse.decode(await stream.take());
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

  private unary<T>(path: string, request: Uint8Array, codec: Codec<T>): Promise<T> {
    const handler = this.handlers.unary.get(path)!;
    return new Promise((resolve, reject) => {
      handler(internalCall(path, this.call), request, (error, response) => {
        if (error === undefined) resolve(codec.decode(response!));
        else reject(error);
      });
    });
  }
}
