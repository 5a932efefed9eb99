import assert from "node:assert/strict";
import { test } from "node:test";
import { mergeParts, partRequest } from "../../src/services/kv/merge.js";
import { readAt, translateRange } from "../../src/services/kv/translate.js";
import { EMPTY, RangeRequest, type RangeResponse } from "../../src/wire/messages.js";
import { bytes, KEYS, Random, randomWorld, rangeOf, seed, text, type World } from "./model.js";

/** The range as a snapshot at `at`, merged from the shards' responses. */
function overShards(world: World, request: RangeRequest, at: number): RangeResponse {
  const { view, shards } = world;
  const parts = shards.map((changes, shard) => {
    const translated = translateRange(partRequest(request), readAt(at, view, shard), view, shard);
    const part = rangeOf(changes, view.cut(shard), translated);
    const kvs = part.kvs.map((kv) => ({
      ...kv,
      createRevision: view.toRevision(shard, kv.createRevision),
      modRevision: view.toRevision(shard, kv.modRevision),
    }));
    return { ...part, kvs };
  });
  return mergeParts(request, parts);
}

function randomRequest(random: Random, head: number): RangeRequest {
  const bound = () => (random.chance(0.75) ? 0 : random.below(head + 4) - 1);
  const [low, high] = [random.pick([...KEYS, "\x01"]), random.pick(KEYS)];
  return {
    ...RangeRequest.decode(EMPTY),
    key: bytes(low),
    rangeEnd: bytes(random.pick(["\0", "\0", high, ""])),
    limit: random.pick([0, 0, -1, 1, 2, 3, 5, 100]),
    revision: random.chance(0.5) ? 0 : 1 + random.below(head),
    sortOrder: random.pick([0, 0, 1, 2]),
    sortTarget: random.pick([0, 0, 1, 2, 3, 4]),
    keysOnly: random.chance(0.2),
    countOnly: random.chance(0.1),
    minModRevision: bound(),
    maxModRevision: bound(),
    minCreateRevision: bound(),
    maxCreateRevision: bound(),
  };
}

const shown = (response: RangeResponse) => ({
  ...response,
  kvs: response.kvs.map((kv) => ({ ...kv, key: text(kv.key), value: text(kv.value) })),
});

test("a range over several shards is what one etcd with all their keys returns", () => {
  const start = seed();
  for (let run = 0; run < 300; run++) {
    const random = new Random(start + run);
    const world = randomWorld(random, 1 + random.below(4), random.below(40));
    for (let i = 0; i < 60; i++) {
      const request = randomRequest(random, world.view.head);
      const at = request.revision > 0 ? request.revision : world.view.head;
      const expected = rangeOf(world.whole, world.view.head, request);
      const what = `SEED=${start + run}, request ${i}: ${JSON.stringify({ ...request, key: text(request.key), rangeEnd: text(request.rangeEnd) })}`;
      assert.deepEqual(shown(overShards(world, request, at)), shown(expected), what);
    }
  }
});

test("each shard gets at most the limit plus one", () => {
  const request = { ...RangeRequest.decode(EMPTY), key: bytes("a"), rangeEnd: bytes("z"), limit: 10 };
  for (const sortOrder of [0, 1, 2] as const) {
    for (const sortTarget of [0, 1, 2, 3, 4] as const) {
      for (const minModRevision of [0, 5]) {
        const part = partRequest({ ...request, sortOrder, sortTarget, minModRevision });
        assert.equal(part.limit, 11);
      }
    }
  }
});

test("keys_only fetches values only to sort by them", () => {
  const request = { ...RangeRequest.decode(EMPTY), key: bytes("a"), rangeEnd: bytes("z"), keysOnly: true };
  assert.equal(partRequest({ ...request, sortTarget: 3 }).keysOnly, true);
  assert.equal(partRequest({ ...request, sortTarget: 4 }).keysOnly, false);
});
