/**
 * Keys of the timeline log on its host. All are in the reserved keyspace, which clients do not see.
 *
 * - `base`: the newest base, replaced by compare-and-swap
 * - `tail`: put with every entry, so that its mod revision is the end of the log
 * - `log/<epoch>/<proxy>/<n>`: entries
 * - `part/<epoch>/<proxy>/<n>`: parts of a base that is too large for one value
 * - `token-key`: the key that encrypts clients' tokens, written once; not part of the log
 * - `mark/<store>`: on every cluster of a store, including the host: the store that it belongs to (mark.ts)
 * - `mark/<store>/claim`: on one cluster of a store, put before the first mark: decides which of several stores is made
 */
const PREFIX = "\0braid/";

export const LOG_PREFIX = Buffer.from(PREFIX);
/** End of the range of all keys of the timeline. */
export const LOG_PREFIX_END = Buffer.from("\0braid0");
export const BASE_KEY = Buffer.from(`${PREFIX}base`);
export const TAIL_KEY = Buffer.from(`${PREFIX}tail`);

export const TOKEN_KEY = Buffer.from(`${PREFIX}token-key`);

const MARKS = `${PREFIX}mark/`;

/** The range of marks and claims of all stores. */
export const MARKS_BEGIN = Buffer.from(MARKS);
export const MARKS_END = Buffer.from(`${PREFIX}mark0`);

/** Keys of a store's mark and claim. `store` is its id: 16 lower-case hexadecimal digits. */
export const markKey = (store: string): Buffer => Buffer.from(`${MARKS}${store}`);
export const claimKey = (store: string): Buffer => Buffer.from(`${MARKS}${store}${CLAIM}`);

const CLAIM = "/claim";

/** True for the key of a store's mark. */
export function isMarkKey(key: Uint8Array): boolean {
  return /^[0-9a-f]{16}$/.test(relative(key, MARKS));
}

/** What follows `prefix` in a key; empty if the key does not begin with it. */
function relative(key: Uint8Array, prefix: string): string {
  const text = Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
  return text.startsWith(prefix) ? text.slice(prefix.length) : "";
}

/** Returns the store's id in the key of a mark or claim. */
export function parseMarkKey(key: Uint8Array): { store: string; isClaim: boolean } {
  const name = Buffer.from(key).toString("latin1").slice(MARKS.length);
  const isClaim = name.endsWith(CLAIM);
  return { store: isClaim ? name.slice(0, -CLAIM.length) : name, isClaim };
}

const ENTRIES = `${PREFIX}log/`;
const PARTS = `${PREFIX}part/`;

// Fixed width, so that epochs sort as numbers.
const padded = (value: number): string => value.toString(16).padStart(13, "0");

export const entryKey = (epoch: number, proxy: string, n: number): string =>
  `${ENTRIES}${padded(epoch)}/${proxy}/${n}`;

export const partKey = (epoch: number, proxy: string, n: number): string =>
  `${PARTS}${padded(epoch)}/${proxy}/${n}`;

export const isEntryKey = (key: string): boolean => key.startsWith(ENTRIES);
export const isPartKey = (key: string): boolean => key.startsWith(PARTS);

/** The epoch in the key of an entry. */
export const epochOf = (key: string): number =>
  Number.parseInt(key.slice(ENTRIES.length, ENTRIES.length + 13), 16);

/** The proxy in the key of an entry. */
export const proxyOf = (key: string): string => key.slice(ENTRIES.length + 14, key.lastIndexOf("/"));

/** Key range of the entries of all epochs before `epoch`. */
export const entriesBefore = (epoch: number): { key: Buffer; end: Buffer } => ({
  key: Buffer.from(ENTRIES),
  end: Buffer.from(`${ENTRIES}${padded(epoch)}`),
});
