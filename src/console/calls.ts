import type { Handlers, Metadata } from "../rpc/call.js";
import { internalCall, invoke, type WithHeader } from "../services/internalCall.js";
import type { Codec, Init, ResponseHeader } from "../wire/messages.js";

/** A method that can be called, with its messages. */
export interface Method<Q, R> {
  readonly path: string;
  readonly request: { encode(message: Init<Q>): Uint8Array };
  readonly response: Codec<R>;
}

/** Calls the proxy's own handlers as a client with this metadata would. So the shards judge every call by the user's permissions. */
export class Calls {
  constructor(
    /** With the callers of the metadata, see `withCallers`. */
    private readonly handlers: Handlers,
    private readonly metadata: Metadata,
  ) {}

  /** Rejects with the handler's `StatusError`. */
  call<Q, R extends { readonly header?: ResponseHeader | undefined }>(
    { path, request, response }: Method<Q, R>,
    message: Init<Q>,
  ): Promise<WithHeader<R>> {
    const handler = this.handlers.unary.get(path);
    if (handler === undefined) throw new RangeError(`there is no method ${path}`);
    const call = internalCall(path, { metadata: this.metadata, caller: undefined });
    return invoke(handler, call, request.encode(message), response);
  }
}
