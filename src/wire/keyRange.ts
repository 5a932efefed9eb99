/** Keys from `key` up to but without `rangeEnd`, as etcd's requests have them; see the two special ends below. */
export interface KeyRange {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}

/** `rangeEnd` for all keys from `key` on. */
export const TO_LAST_KEY: Uint8Array = Uint8Array.of(0);
/** `rangeEnd` for `key` alone. */
export const KEY_ALONE: Uint8Array = new Uint8Array(0);
/** The first key of all: in the reserved keyspace, and never written. With `TO_LAST_KEY` it stands for all keys. */
export const NO_KEY: Uint8Array = Uint8Array.of(0);
