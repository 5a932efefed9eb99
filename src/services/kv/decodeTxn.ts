import { TxnRequest } from "../../wire/messages.js";

/** The transaction that was decoded ahead. */
let ahead: { readonly bytes: Uint8Array; readonly request: TxnRequest } | undefined;

/** Decodes a transaction that is about to be handled. The result must not be changed. */
export function decodeTxnAhead(bytes: Uint8Array): TxnRequest {
  ahead = { bytes, request: TxnRequest.decode(bytes) };
  return ahead.request;
}

/** Decodes a transaction, unless these bytes were the last that were decoded ahead: decoding is the greater part of the cost. */
export function decodeTxn(bytes: Uint8Array): TxnRequest {
  const request = ahead?.bytes === bytes ? ahead.request : TxnRequest.decode(bytes);
  ahead = undefined;
  return request;
}
