/** Keys from `key` up to, but not including, `rangeEnd`, with the special ends below: the form of etcd's requests. */
export interface KeyRange {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}

/** `rangeEnd` of all keys from `key` on. */
export const TO_LAST_KEY: Uint8Array = Uint8Array.of(0);
/** `rangeEnd` of `key` alone. */
export const KEY_ALONE: Uint8Array = new Uint8Array(0);
/** The lowest key. It is in the reserved keyspace and never written. With `TO_LAST_KEY`, it covers all keys. */
export const NO_KEY: Uint8Array = Uint8Array.of(0);
