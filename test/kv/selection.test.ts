import assert from "node:assert/strict";
import { test } from "node:test";
import { Selection } from "../../src/services/kv/selection.js";
import { EMPTY, RangeRequest } from "../../src/wire/messages.js";
import { bytes, Random, randomWorld, rangeOf, seed, stateAt } from "./model.js";

const FROM = { key: bytes("\x01"), rangeEnd: bytes("\0") };

test("keys of several sources become the response of one etcd", () => {
  const start = seed();
  for (let run = 0; run < 300; run++) {
    const random = new Random(start + run);
    const world = randomWorld(random, 1, random.below(60));
    const { head } = world.view;
    for (let i = 0; i < 20; i++) {
      const bound = () => random.pick([0, 0, 0, -1, random.below(head + 3)]);
      const request: RangeRequest = {
        ...RangeRequest.decode(EMPTY),
        ...FROM,
        limit: random.pick([0, 0, 1, 2, 5, 100]),
        sortOrder: random.pick([0, 1, 2]),
        sortTarget: random.pick([0, 1, 2, 3, 4]),
        keysOnly: random.chance(0.2),
        countOnly: random.chance(0.1),
        minModRevision: bound(),
        maxModRevision: bound(),
        minCreateRevision: bound(),
        maxCreateRevision: bound(),
      };
      const selection = new Selection(request);
      const shares = [selection.share(), selection.share(), selection.share()];
      for (const kv of stateAt(world.whole, head)) {
        const share = random.pick(shares);
        // A source that is asked for keys only returns no values.
        share.add(share.needsKeysOnly ? { ...kv, value: EMPTY } : { ...kv });
      }
      const expected = rangeOf(world.whole, head, request);
      assert.deepEqual(shown(selection.finish()), shown(expected), `SEED=${start + run}, request ${i}`);
    }
  }
});

const shown = ({ kvs, more, count }: ReturnType<typeof rangeOf>) => ({
  more,
  count,
  kvs: kvs.map((kv) => [
    Buffer.from(kv.key).toString(),
    Buffer.from(kv.value).toString(),
    kv.createRevision,
    kv.modRevision,
    kv.version,
  ]),
});
