import type { Bound } from "../reshard/bound.js";
import type { KeyValue } from "../wire/messages.js";
import { deletions } from "./batches.js";
import { GivenUp } from "./givenUp.js";
import type { MoverOptions } from "./options.js";
import { type Pace, SHARES } from "./pace.js";
import { eachPage } from "./pages.js";
import type { MoverShard, MoverTxn, MoverTxnResult } from "./shard.js";

/** Passes over a range in which keys keep changing. */
const MAX_PASSES = 4;

/**
 * Deletes the keys of a range for which `isDoomed` returns true, as long as gen is `gen`. Each deletion compares that its key
 * is unchanged. Keys that change, such as by the end of a lease, are read again. Throws `GivenUp` when deletions keep being
 * refused: usually another mover has raised gen.
 */
export async function deleteKeys(
  shard: MoverShard,
  range: { readonly from: Bound; readonly to: Bound },
  gen: number | undefined,
  { options, pace }: { readonly options: MoverOptions; readonly pace: Pace },
  isDoomed: (key: Uint8Array) => boolean,
  send: (txn: MoverTxn) => Promise<MoverTxnResult> = (txn) => shard.txn(txn),
): Promise<void> {
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    let isRefused = false;
    await eachPage(shard, range, options, async (kvs) => {
      const doomed = kvs.filter(({ key }: KeyValue) => isDoomed(key));
      const sent = deletions(doomed, options).map(async (group) => {
        await pace.take(group.length, SHARES.delete);
        const ops = group.map(({ key }) => ({ kind: "delete", key }) as const);
        const { succeeded } = await send({ gen, unchanged: group, ops });
        if (!succeeded) isRefused = true;
      });
      await Promise.all(sent);
    });
    if (!isRefused) return;
  }
  throw new GivenUp(`deletions on shard "${shard.name}" are refused`);
}
