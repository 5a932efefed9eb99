import { printable } from "../../routing/bytes.js";
import type { Router } from "../../routing/router.js";
import { Code, StatusError } from "../../status/error.js";
import { KEY_ALONE, type KeyRange, NO_KEY } from "../../wire/keyRange.js";

/*
 * The reserved keyspace: keys that begin with a zero byte. Clients can neither see nor write them. The timeline keeps its
 * log there.
 */

const FIRST_KEY = Uint8Array.of(1);

/** A key that is never written. In a transaction, operations on nothing but reserved keys are sent with this one. */
export const ABSENT: KeyRange = { key: NO_KEY, rangeEnd: KEY_ALONE };

export function isReserved(key: Uint8Array): boolean {
  return key[0] === 0 && key.length > 0;
}

/** True for a range that begins in the reserved keyspace, so that `visible` would change it. */
export function touchesReserved(range: KeyRange): boolean {
  return isReserved(range.key);
}

function isUnbounded(rangeEnd: Uint8Array): boolean {
  return rangeEnd.length === 1 && rangeEnd[0] === 0;
}

/** The part of a range that clients can see, or undefined when all of it is reserved. The same object when nothing is. */
export function visible(range: KeyRange): KeyRange | undefined {
  if (!isReserved(range.key)) return range;
  const { rangeEnd } = range;
  if (rangeEnd.length === 0) return undefined;
  if (isUnbounded(rangeEnd)) return { key: FIRST_KEY, rangeEnd };
  if (Buffer.compare(rangeEnd, FIRST_KEY) <= 0) return undefined;
  return { key: FIRST_KEY, rangeEnd };
}

/** The shards that can have keys of a visible range. */
export function shardsOfRange(router: Router, { key, rangeEnd }: KeyRange): readonly number[] {
  return rangeEnd.length === 0 ? [router.shardOf(key)] : router.shardsOf(key, rangeEnd);
}

/** The error for a write of a reserved key. */
export function reservedKey(key: Uint8Array): StatusError {
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `etcd-braid: key ${quoteKey(key)} is reserved: keys that begin with a zero byte cannot be written`,
  );
}

/** Longest key in a message, in bytes. */
const SHOWN_BYTES = 80;

/** A key for a message: quoted ASCII, other bytes as `\xNN`, long keys shortened. */
export function quoteKey(key: Uint8Array): string {
  if (key.length <= SHOWN_BYTES) return `"${printable(key)}"`;
  return `"${printable(key.subarray(0, SHOWN_BYTES))}"...`;
}

/** A range for a message: the key, or the range in interval notation. */
export function quoteRange({ key, rangeEnd }: KeyRange): string {
  if (rangeEnd.length === 0) return quoteKey(key);
  const end = isUnbounded(rangeEnd) ? "end" : quoteKey(rangeEnd);
  return `[${quoteKey(key)}, ${end})`;
}
