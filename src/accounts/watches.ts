import type { Tenant } from "../tenants/tenant.js";
import type { Tenants } from "../tenants/tenants.js";
import { AFTER_ALL_KEYS, keyText, type TextRange } from "../watch/keys.js";
import { KEY_ALONE, TO_LAST_KEY } from "../wire/keyRange.js";
import { type Groups, MAX_GROUP_BYTES } from "./groups.js";

/** Most watches that are looked at. */
const MAX_EXAMINED = 20_000;

/** The watches of a client's stream. */
export interface WatchStream {
  readonly state: {
    readonly watches: Iterable<{ readonly watcher: { readonly range: TextRange } | undefined }>;
  };
}

/** A group that is watched. */
export interface WatchedGroup {
  readonly group: Uint8Array;
  readonly shard: string;
  readonly tenant: Tenant | undefined;
  watches: number;
}

/** The open watches by the text of their group, without those that concern several groups. */
export function watchesByGroup(
  streams: Iterable<WatchStream>,
  groups: Pick<Groups, "ofRange">,
  tenants: Pick<Tenants, "ofRange">,
): ReadonlyMap<string, WatchedGroup> {
  const found = new Map<string, WatchedGroup>();
  // Many watches have the same range.
  const known = new Map<string, WatchedGroup | undefined>();
  let examined = 0;
  for (const { state } of streams) {
    for (const { watcher } of state.watches) {
      if (watcher === undefined) continue;
      if (++examined > MAX_EXAMINED) return found;
      const { begin, end } = watcher.range;
      const text = `${begin}\uffff${end}`;
      if (!known.has(text)) known.set(text, groupOf(watcher.range, found));
      const watched = known.get(text);
      if (watched !== undefined) watched.watches++;
    }
  }
  return found;

  function groupOf(range: TextRange, found: Map<string, WatchedGroup>): WatchedGroup | undefined {
    const { key, rangeEnd } = bytesOf(range);
    const place = groups.ofRange(key, rangeEnd);
    if (place === undefined || place.group.length > MAX_GROUP_BYTES) return undefined;
    const text = keyText(place.group);
    const known = found.get(text);
    if (known !== undefined) return known;
    const watched = { ...place, tenant: tenants.ofRange(key, rangeEnd), watches: 0 };
    found.set(text, watched);
    return watched;
  }
}

function bytesOf({ begin, end }: TextRange): { key: Uint8Array; rangeEnd: Uint8Array } {
  const key = Buffer.from(begin, "latin1");
  if (end === `${begin}\0`) return { key, rangeEnd: KEY_ALONE };
  return { key, rangeEnd: end === AFTER_ALL_KEYS ? TO_LAST_KEY : Buffer.from(end, "latin1") };
}
