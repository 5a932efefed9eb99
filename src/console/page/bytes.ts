/** Decodes base64url. */
export function decode(text: string): Uint8Array {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** Encodes bytes in base64url, without padding. */
export function encode(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Bytes as text; undefined if they are not UTF-8. */
export function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Characters that cannot be seen, or that change the order in which others are shown. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

const escapeOf = (character: string): string => {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x80 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
};

/** A key as one line: what cannot be seen, or is not text, as `\xNN`. Backslashes are doubled. */
export function keyText(bytes: Uint8Array): string {
  const text = utf8(bytes);
  if (text !== undefined) return text.replaceAll("\\", "\\\\").replace(UNSEEN, escapeOf);
  let shown = "";
  for (const byte of bytes) {
    if (byte === 0x5c) shown += "\\\\";
    else if (byte >= 0x20 && byte < 0x7f) shown += String.fromCharCode(byte);
    else shown += `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return shown;
}

/** Text of a value: lines and tabs stay, what else cannot be seen is escaped. */
export const valueText = (text: string): string =>
  text.replace(UNSEEN, (character) =>
    character === "\n" || character === "\t" ? character : escapeOf(character),
  );

/** Reads what `keyText` writes. */
export function parseKey(text: string): Uint8Array {
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  for (const [part, hex, point, slash] of text.matchAll(
    /\\x([0-9a-f]{2})|\\u\{([0-9a-f]{1,6})\}|(\\\\)|[^\\]+|\\/gi,
  )) {
    if (hex !== undefined) bytes.push(Number.parseInt(hex, 16));
    else if (point !== undefined) {
      const code = Number.parseInt(point, 16);
      bytes.push(...encoder.encode(code <= 0x10ffff ? String.fromCodePoint(code) : part));
    } else if (slash !== undefined) bytes.push(0x5c);
    else bytes.push(...encoder.encode(part));
  }
  return Uint8Array.from(bytes);
}

/** A dump with 16 bytes in a line. */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join("\n");
}

/** Indents JSON. Numbers and texts stay as they are written, so that nothing loses digits. Undefined if it is not JSON. */
export function prettyJson(text: string): string | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  let [out, depth] = ["", 0];
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s"[\]{},:]+/g)) {
    if (token === "{" || token === "[") {
      depth++;
      out += token + line();
    } else if (token === "}" || token === "]") {
      depth--;
      out = /[{[]\s*$/.test(out) ? out.trimEnd() + token : out + line() + token;
    } else if (token === ",") out += token + line();
    else if (token === ":") out += ": ";
    else out += token;
  }
  return out;
}

/** Etcd's `range_end` of all keys that begin with `prefix`. */
export function prefixEnd(prefix: Uint8Array): Uint8Array {
  const last = prefix.findLastIndex((byte) => byte < 0xff);
  if (last < 0) return Uint8Array.of(0);
  return prefix.slice(0, last + 1).map((byte, i) => (i === last ? byte + 1 : byte));
}
