import { type Bound, isWithin } from "../reshard/bound.js";
import type { MapRouter } from "../reshard/maps.js";
import { keyAfter } from "../shard/rangeReader.js";
import { deletions, runsOf } from "./batches.js";
import { GivenUp } from "./givenUp.js";
import type { MoverOptions } from "./options.js";
import { type Pace, SHARES } from "./pace.js";
import { eachPage } from "./pages.js";
import type { MoverOp, MoverShard, MoverTxn, MoverTxnResult } from "./shard.js";

/** The keys of a range that a shard must not hold. */
export interface Doomed {
  includes(key: Uint8Array): boolean;
  /** True when the shard must not hold any key from `first` to `last`, also none that a client could write. */
  includesAll(first: Uint8Array, last: Uint8Array): boolean;
}

/** The keys of a range that are on the shard by the map `other`, but not by the map `inForce`, which counts for the range now. */
export const doomedOf = (
  { from, to }: { readonly from: Bound; readonly to: Bound },
  other: MapRouter,
  inForce: MapRouter,
  shard: number,
): Doomed => ({
  includes: (key) =>
    isWithin(key, from, to) && other.shardOf(key) === shard && inForce.shardOf(key) !== shard,
  includesAll: (first, last) =>
    isWithin(first, from, to) &&
    isWithin(last, from, to) &&
    !inForce.shardsOf(first, keyAfter(last)).includes(shard),
});

/**
 * Deletes the doomed keys of a range, as long as gen is `gen`: no key that a client may write there can be among them then. One
 * transaction after the other, because clients' writes wait for those in front of them. Throws `GivenUp` when a deletion is
 * refused: another mover has raised gen.
 */
export async function deleteKeys(
  shard: MoverShard,
  range: { readonly from: Bound; readonly to: Bound },
  gen: number | undefined,
  { options, pace }: { readonly options: MoverOptions; readonly pace: Pace },
  doomed: Doomed,
  send: (txn: MoverTxn) => Promise<MoverTxnResult> = (txn) => shard.txn(txn),
): Promise<void> {
  await eachPage(shard, range, options, async (kvs) => {
    const runs = stretches(kvs, doomed).flatMap((keys) =>
      runsOf(keys, (first, last) => doomed.includesAll(first, last), options.deleteKeys),
    );
    for (const group of deletions(runs, options)) {
      await pace.take(
        group.reduce((sum, { keys }) => sum + keys, 0),
        SHARES.delete,
      );
      const ops = group.map(({ key, end }): MoverOp => ({ kind: "delete", key, end }));
      const { succeeded } = await send({ gen, ops });
      if (!succeeded) throw new GivenUp(`deletions on shard "${shard.name}" are refused`);
    }
  });
}

/** The doomed keys. A list has those between which the shard holds no other key. */
function stretches(kvs: readonly { readonly key: Uint8Array }[], doomed: Doomed): Uint8Array[][] {
  const lists: Uint8Array[][] = [];
  let isOpen = false;
  for (const { key } of kvs) {
    const isDoomed = doomed.includes(key);
    if (isDoomed && isOpen) lists.at(-1)?.push(key);
    else if (isDoomed) lists.push([key]);
    isOpen = isDoomed;
  }
  return lists;
}
