import type { KnownMaps } from "../reshard/knownMaps.js";
import { commonPrefix } from "../routing/bytes.js";

/** Longest group that has an account, in bytes. Keys of longer ones count in all totals. */
export const MAX_GROUP_BYTES = 1_024;

/** A group and where it is. */
export interface Place {
  /** A part of the key that it was found for, so it may have to be copied. */
  readonly group: Uint8Array;
  /** Name of the shard. */
  readonly shard: string;
}

/** Any byte but a delimiter would do. */
const BYTES = [0x78, 0x79] as const;

/** Finds the groups of keys and ranges, as keys are placed now. */
export class Groups {
  constructor(private readonly maps: KnownMaps) {}

  ofKey(key: Uint8Array): Place {
    const { map, router } = this.maps.of(key);
    const { group, shard } = router.explain(key);
    return { group, shard: map.shards[shard]?.name ?? "" };
  }

  /**
   * The group of a range, with the special ends of etcd. Undefined if its keys can be of several groups. Longer rules below the
   * range do not matter.
   */
  ofRange(key: Uint8Array, rangeEnd: Uint8Array): Place | undefined {
    if (rangeEnd.length === 0) return this.ofKey(key);
    const shared = sharedPrefix(key, rangeEnd);
    if (shared.length === 0) return undefined;
    // A key in the range, with a further byte that decides if the group ends within what all keys share.
    const { router } = this.maps.of(shared);
    const further = router.explain(shared).rule.delimiter === BYTES[0] ? BYTES[1] : BYTES[0];
    const place = this.ofKey(Uint8Array.of(...shared, further));
    return place.group.length <= shared.length ? place : undefined;
  }
}

/** What all keys of a range begin with. */
function sharedPrefix(key: Uint8Array, rangeEnd: Uint8Array): Uint8Array {
  let shared = commonPrefix(key, rangeEnd);
  // All keys of [`/a/x`, `/a0`) begin with `/a/`.
  if (shared < key.length && rangeEnd.length === shared + 1 && rangeEnd[shared] === key[shared]! + 1)
    shared++;
  return key.subarray(0, shared);
}
