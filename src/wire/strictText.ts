import { malformed } from "./reader.js";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Decodes a text in a message of gRPC's own services, whose protobuf libraries are stricter than etcd's. Throws
 * INVALID_ARGUMENT for bytes that are not UTF-8.
 */
export function strictText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformed("a text that is not UTF-8");
  }
}
