/** How gRPC writes times and texts in headers (PROTOCOL-HTTP2 of the gRPC specification). */

const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Milliseconds of a `grpc-timeout`; undefined for what is none. */
export function parseTimeout(text: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text);
  return match === null ? undefined : Number(match[1]) * UNITS[match[2]];
}

/** Longest status text, bytes: clients bound their header lists. */
const MAX_TEXT = 4096;

/**
 * A status text as `grpc-message` has it: percent-encoded UTF-8. Spaces are encoded only at both ends, where header values
 * must not have them.
 */
export function encodeMessage(text: string): string {
  if (text.length <= MAX_TEXT && /^(?! )[\x20-\x24\x26-\x7e]*(?<! )$/.test(text)) return text;
  const bytes = Buffer.from(text, "utf8").subarray(0, MAX_TEXT);
  let encoded = "";
  bytes.forEach((byte, i) => {
    const atEnd = i === 0 || i === bytes.length - 1;
    const plain = byte <= 0x7e && byte !== 0x25 && (atEnd ? byte > 0x20 : byte >= 0x20);
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  });
  return encoded;
}

/** The text of a `grpc-message`. What is not encoded properly is kept as it is. */
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
