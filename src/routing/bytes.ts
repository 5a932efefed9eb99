// Indices below are in range by construction; `!` keeps the hot loops free of checks.

/** Compares bytes lexicographically, as etcd orders keys. Returns a negative number, 0 or a positive number. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  const same = commonPrefix(a, b);
  return same < length ? a[same]! - b[same]! : a.length - b.length;
}

/** Returns the number of leading bytes that `a` and `b` share. */
export function commonPrefix(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  let i = 0;
  while (i < length && a[i] === b[i]) i++;
  return i;
}

/** The first key behind all keys with `prefix`, as clients compute it; undefined if there is none: the prefix has only bytes 0xff. */
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  const last = prefix.findLastIndex((byte) => byte < 0xff);
  if (last < 0) return undefined;
  const end = Uint8Array.from(prefix.subarray(0, last + 1));
  end[last]!++;
  return end;
}

/** Formats bytes as one line of ASCII for messages. Backslashes are doubled; unprintable bytes become `\xNN`. */
export function printable(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    if (byte === 0x5c) text += "\\\\";
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else text += `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return text;
}
