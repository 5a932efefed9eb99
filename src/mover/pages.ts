import type { Bound } from "../reshard/bound.js";
import { keyAfter, RangeReader } from "../shard/rangeReader.js";
import type { KeyValue } from "../wire/messages.js";
import type { MoverOptions } from "./options.js";
import type { MoverShard, Page, PageRequest } from "./shard.js";

/** Bytes that a key counts. */
export const sizeOf = ({ key, value }: Pick<KeyValue, "key" | "value">): number => key.length + value.length;

/** Pages begin small, because the first one shows how large values are. */
const FIRST_PAGE = 16;
const MAX_GROWTH = 8;

/** Reads pages with values from one shard. Adapts the number of keys to the size of their values. */
export class PageReader {
  private limit: number;

  constructor(
    private readonly shard: MoverShard,
    private readonly options: Pick<MoverOptions, "pageKeys" | "pageBytes">,
  ) {
    this.limit = Math.min(FIRST_PAGE, options.pageKeys);
  }

  async read(request: Omit<PageRequest, "limit" | "keysOnly">): Promise<Page> {
    const page = await this.shard.range({ ...request, limit: this.limit });
    const { pageKeys, pageBytes } = this.options;
    if (page.kvs.length > 0) {
      const average = page.kvs.reduce((sum, kv) => sum + sizeOf(kv), 0) / page.kvs.length;
      const fitting = Math.floor(pageBytes / average);
      this.limit = Math.max(1, Math.min(fitting, pageKeys, this.limit * MAX_GROWTH));
    }
    return page;
  }
}

/** Where the next page begins: undefined after the last one. */
export const nextOf = ({ kvs, more }: Page): Uint8Array | undefined => {
  const last = kvs.at(-1);
  return more && last !== undefined ? keyAfter(last.key) : undefined;
};

/** A page without values takes a proxy so much less time than one with them. */
const KEYS_ONLY = 2;

/** Calls `visit` with all pages of a range without values, one after the other. Each is the newest state of its moment. */
export async function eachPage(
  shard: MoverShard,
  { from, to }: { readonly from: Bound; readonly to: Bound },
  { pageKeys }: Pick<MoverOptions, "pageKeys">,
  visit: (kvs: readonly KeyValue[]) => Promise<void>,
): Promise<void> {
  if (from === null) return;
  const limit = KEYS_ONLY * pageKeys;
  const reader = new RangeReader((range) => shard.range({ ...range, limit, keysOnly: true }), limit);
  for await (const kvs of reader.pages(from, to)) await visit(kvs);
}
