import type { Call, Metadata, UnaryHandler } from "../rpc/call.js";
import { CallState } from "../rpc/callState.js";
import { type StreamCarrier, StreamState } from "../rpc/streamState.js";
import { Code, StatusError } from "../status/error.js";
import { type Codec, EMPTY, type ResponseHeader } from "../wire/messages.js";

/** The client's call that an internal one is made for. */
type Client = Pick<Call, "metadata" | "caller">;

/** Queued bytes above which a handler has to pause. */
const HIGH_WATER_BYTES = 64 * 1024;

/**
 * A call of the proxy to one of its own handlers, in a client's name. It does not end with the client's call, because only
 * its response shows whether a write was made.
 */
export function internalCall(path: string, { metadata, caller }: Client): CallState {
  const call = new CallState(path, Number.POSITIVE_INFINITY, { metadata, ended() {}, fail() {} });
  call.caller = caller;
  return call;
}

/** A response with a header, which every response of this proxy has. */
export type WithHeader<R> = R & { readonly header: ResponseHeader };

/** Throws for a response without header. */
export function withHeader<R extends { readonly header?: ResponseHeader | undefined }>(
  response: R,
): WithHeader<R> {
  const { header } = response;
  if (header === undefined) throw new TypeError("a response without header");
  return { ...response, header };
}

/** Makes a call. Resolves to the response. Rejects with the handler's `StatusError`. */
export function invoke<R extends { readonly header?: ResponseHeader | undefined }>(
  handler: UnaryHandler,
  call: Call,
  request: Uint8Array,
  codec: Codec<R>,
): Promise<WithHeader<R>> {
  return new Promise((resolve, reject) => {
    handler(call, request, (error, response = EMPTY) => {
      if (error !== undefined) {
        reject(error);
        return;
      }
      try {
        resolve(withHeader(codec.decode(response)));
      } catch (reason) {
        reject(reason);
      }
    });
  });
}

/** Like `internalCall`, for a stream. The handler gets `call`. The proxy sends one request and takes messages. */
export class InternalStream implements StreamCarrier {
  readonly call: StreamState;
  readonly metadata: Metadata;
  readonly isOverfull = false;
  queuedBytes = 0;
  private readonly queue: Uint8Array[] = [];
  private failure: StatusError | undefined;
  private wake: (() => void) | undefined;

  constructor(path: string, { metadata, caller }: Client) {
    this.metadata = metadata;
    this.call = new StreamState(path, Number.POSITIVE_INFINITY, this, HIGH_WATER_BYTES);
    this.call.caller = caller;
  }

  /** Resolves to the next message. Rejects when the stream has ended. For one reader at a time. */
  async take(): Promise<Uint8Array> {
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const message = this.queue.shift();
      if (message !== undefined) {
        this.queuedBytes -= message.length;
        this.call.taken();
        return message;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  ended(): void {}

  /** `take` rejects with `error` from now on. */
  fail(error: StatusError): void {
    this.failure ??= error;
    this.wake?.();
  }

  write(parts: readonly Uint8Array[]): void {
    const message = Buffer.concat(parts);
    this.queue.push(message);
    this.queuedBytes += message.length;
    this.wake?.();
  }

  complete(): void {
    this.fail(new StatusError(Code.UNAVAILABLE, "etcd-braid: the stream has ended"));
  }

  /** No effect, because the handler gets only one message. */
  pause(): void {}
  resume(): void {}
}
