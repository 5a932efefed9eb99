import { endOfPrefix } from "../reshard/bound.js";
import { TO_LAST_KEY } from "../wire/keyRange.js";
import { RequestError } from "./requestError.js";

/** Longest key in a request, in bytes. Longer ones do not fit into a URL that the server accepts. */
const MAX_KEY_BYTES = 32 * 1024;

export const encodeBytes = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");

/** Decodes a parameter in base64url. Throws `RequestError` if it is none. */
export function decodeBytes(text: string): Uint8Array {
  const bytes = Buffer.from(text, "base64url");
  // Node's decoder ignores what it does not know.
  if (bytes.toString("base64url") !== text) throw new RequestError(400, "a key must be in base64url");
  if (bytes.length > MAX_KEY_BYTES) throw new RequestError(400, "the key is too long for this page");
  return bytes;
}

/** The `range_end` of all keys that begin with `prefix`. */
export const prefixEnd = (prefix: Uint8Array): Uint8Array => endOfPrefix(prefix) ?? TO_LAST_KEY;
