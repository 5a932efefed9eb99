import { printable } from "../../routing/bytes.js";
import { Code, StatusError } from "../../status/error.js";
import { KEY_ALONE, type KeyRange, NO_KEY } from "../../wire/keyRange.js";

/*
 * The reserved keyspace: keys that begin with a zero byte. Clients do not see it and cannot write it; the
 * timeline keeps its log there.
 */

const FIRST_KEY = Uint8Array.of(1);

/**
 * A single key that is never written, neither by clients (it is reserved) nor by the timeline. An operation on
 * nothing that has to be sent along in a transaction is aimed at it.
 */
export const ABSENT: KeyRange = { key: NO_KEY, rangeEnd: KEY_ALONE };

export function isReserved(key: Uint8Array): boolean {
  return key[0] === 0 && key.length > 0;
}

/** True for an extent that begins inside the reserved keyspace, so that `visible` would change it. */
export function touchesReserved(extent: KeyRange): boolean {
  return isReserved(extent.key);
}

function isUnbounded(rangeEnd: Uint8Array): boolean {
  return rangeEnd.length === 1 && rangeEnd[0] === 0;
}

/** The part of an extent that clients can see; undefined when it lies in the reserved keyspace as a whole. */
export function visible(extent: KeyRange): KeyRange | undefined {
  if (!isReserved(extent.key)) return extent;
  if (extent.rangeEnd.length === 0) return undefined;
  if (isUnbounded(extent.rangeEnd)) return { key: FIRST_KEY, rangeEnd: extent.rangeEnd };
  if (Buffer.compare(extent.rangeEnd, FIRST_KEY) <= 0) return undefined;
  return { key: FIRST_KEY, rangeEnd: extent.rangeEnd };
}

/** What a client gets that writes a reserved key. */
export function reservedKey(key: Uint8Array): StatusError {
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `etcd-braid: key ${quoteKey(key)} is reserved: keys that begin with a zero byte cannot be written`,
  );
}

const SHOWN_BYTES = 80;

/** A key for a message: quoted ASCII, other bytes as `\xNN`, long keys cut. */
export function quoteKey(key: Uint8Array): string {
  if (key.length <= SHOWN_BYTES) return `"${printable(key)}"`;
  return `"${printable(key.subarray(0, SHOWN_BYTES))}"...`;
}

/** An extent for a message: the key, or the range in interval notation. */
export function quoteRange(extent: KeyRange): string {
  if (extent.rangeEnd.length === 0) return quoteKey(extent.key);
  const end = isUnbounded(extent.rangeEnd) ? "end" : quoteKey(extent.rangeEnd);
  return `[${quoteKey(extent.key)}, ${end})`;
}
