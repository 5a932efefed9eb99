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

/**
 * Most bytes of a window, in pages. The more keys are copied at once, the fewer transactions it takes: keys with the same revision
 * share one.
 */
export const WINDOW_PAGES = 8;

/**
 * Reads the keys from `from` on that `isWanted`, as many as fit into a window. `read` reads a page at a shard revision, or at
 * the newest for 0.
 */
export async function readWindow(
  read: (from: Bound, revision: number) => Promise<Page>,
  from: Bound,
  isWanted: (key: Uint8Array) => boolean,
  { stepKeys, pageBytes }: Pick<MoverOptions, "stepKeys" | "pageBytes">,
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
    if (next === undefined || kvs.length >= stepKeys || bytes >= WINDOW_PAGES * pageBytes)
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
