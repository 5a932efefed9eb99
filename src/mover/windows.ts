import type { Bound } from "../reshard/bound.js";
import type { KeyValue } from "../wire/messages.js";
import type { MoverOptions } from "./options.js";
import { nextOf, sizeOf } from "./pages.js";
import { isCompacted, type Page } from "./shard.js";

/** Keys of a source, all from a bound up to `next`. */
export interface Window {
  readonly kvs: readonly KeyValue[];
  /** The shard revision at which all of them were read. */
  readonly revision: number;
  /** Undefined: the window reaches the end. */
  readonly next: Uint8Array | undefined;
}

/** When a window is full. */
export interface WindowLimits {
  readonly keys: number;
  readonly bytes: number;
}

/**
 * Most keys and bytes that are copied at once. The more there are, the fewer transactions it takes: keys with the same revision
 * share one.
 */
export const copyLimits = ({ stepKeys, pageBytes }: MoverOptions): WindowLimits => ({
  keys: stepKeys,
  bytes: 8 * pageBytes,
});

/** Most keys and bytes that are compared at once. Several pages of a source, because their copies are on several destinations. */
export const compareLimits = ({ pageKeys, pageBytes }: MoverOptions): WindowLimits => ({
  keys: 2 * pageKeys,
  bytes: pageBytes,
});

/**
 * Reads the keys from `from` on that `isWanted`, as many as fit into a window. `read` reads a page at a shard revision, or at
 * the newest for 0.
 */
export async function readWindow(
  read: (from: Bound, revision: number) => Promise<Page>,
  from: Bound,
  isWanted: (key: Uint8Array) => boolean,
  limits: WindowLimits,
): Promise<Window> {
  const first = await read(from, 0);
  const { revision } = first;
  const kvs: KeyValue[] = [];
  let bytes = 0;
  for (let page = first; ; ) {
    for (const kv of page.kvs) {
      if (!isWanted(kv.key)) continue;
      kvs.push(kv);
      bytes += sizeOf(kv);
    }
    const next = nextOf(page);
    if (next === undefined || kvs.length >= limits.keys || bytes >= limits.bytes)
      return { kvs, revision, next };
    try {
      page = await read(next, revision);
    } catch (error) {
      if (!isCompacted(error)) throw error;
      // The shard no longer has this revision. The next window is of a newer one.
      return { kvs, revision, next };
    }
  }
}
