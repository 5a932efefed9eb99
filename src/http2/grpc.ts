/** gRPC over HTTP/2 (PROTOCOL-HTTP2.md of gRPC). */

/** Length of the prefix of each message: a flag for compression, and the message's length. */
export const MESSAGE_PREFIX_BYTES = 5;

/** Units of `grpc-timeout`, in milliseconds. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ["H", 3_600_000],
  ["M", 60_000],
  ["S", 1000],
  ["m", 1],
  ["u", 1e-3],
  ["n", 1e-6],
]);

/** Parses a `grpc-timeout`. Returns milliseconds, or undefined if it is malformed. */
export function parseTimeout(text: string): number | undefined {
  const unit = UNITS.get(text.slice(-1));
  const digits = text.slice(0, -1);
  return unit === undefined || !/^\d{1,8}$/.test(digits) ? undefined : Number(digits) * unit;
}

/** Longest status text: clients bound their header lists. */
const MAX_MESSAGE_BYTES = 4096;

/**
 * Encodes a status text for `grpc-message`, as percent-encoded UTF-8. Spaces are encoded only at both ends, where a
 * header value must not have them. Texts longer than 4 KiB are cut.
 */
export function encodeMessage(text: string): string {
  if (text.length <= MAX_MESSAGE_BYTES && /^(?! )[\x20-\x24\x26-\x7e]*(?<! )$/.test(text)) return text;
  const bytes = Buffer.from(text, "utf8").subarray(0, MAX_MESSAGE_BYTES);
  let encoded = "";
  bytes.forEach((byte, i) => {
    const atEnd = i === 0 || i === bytes.length - 1;
    const plain = byte <= 0x7e && byte !== 0x25 && (atEnd ? byte > 0x20 : byte >= 0x20);
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  });
  return encoded;
}

/** Decodes a `grpc-message`. Malformed escapes are kept unchanged. */
export function decodeMessage(encoded: string): string {
  if (!encoded.includes("%")) return encoded;
  const bytes = Buffer.from(
    encoded.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 16)),
    ),
    "latin1",
  );
  return bytes.toString("utf8");
}
