import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Parts } from "../../src/lease/parts.js";

const LEASE = 7n;
const HOME = 0;

/** What a proxy concludes about a missing part. */
describe("parts of placed leases", () => {
  let placements: Map<bigint, Set<number>>;
  let parts: Parts;
  let home: number;
  let removed: number[];
  let leftAt: Map<number, number>;
  const homes = {
    position: 0,
    of: () => home,
    hasLeftSince: (position: number, shard: number) =>
      removed.includes(shard) || (leftAt.get(shard) ?? 0) > position,
  };

  beforeEach(() => {
    placements = new Map();
    home = HOME;
    removed = [];
    leftAt = new Map();
    homes.position = 0;
    parts = new Parts(() => placements, homes);
  });

  test("a lease needs its home and the shards of its placements", () => {
    assert.deepEqual(parts.shardsOf(LEASE), [HOME]);
    placements.set(LEASE, new Set([2, 1]));
    assert.deepEqual(parts.shardsOf(LEASE), [HOME, 2, 1]);
    parts.refresh();
    assert.deepEqual(
      [0, 1, 2, 3].map((shard) => parts.on(shard).length),
      [1, 1, 1, 0],
    );
  });

  test("a part that was never seen may lack its grant, until it is seen", () => {
    placements.set(LEASE, new Set([1, 2]));
    assert.equal(parts.mayLackGrant(LEASE, 1), true);
    parts.sawAlive(LEASE, 1);
    assert.equal(parts.mayLackGrant(LEASE, 1), false);
    assert.equal(parts.mayLackGrant(LEASE, 2), true);
  });

  test("a part added to a placed lease may lack its grant, older ones may not", () => {
    placements.set(LEASE, new Set([1]));
    parts.sawAlive(LEASE, 1);
    placements.get(LEASE)!.add(2);
    assert.equal(parts.mayLackGrant(LEASE, 1), false);
    assert.equal(parts.mayLackGrant(LEASE, 2), true);
  });

  test("a home never lacks its grant", () => {
    placements.set(LEASE, new Set([1]));
    assert.equal(parts.mayLackGrant(LEASE, HOME), false);
  });

  test("a part placed before the start counts as lost when it is missing", () => {
    placements.set(LEASE, new Set([1]));
    const restarted = new Parts(() => placements, homes);
    assert.equal(restarted.mayLackGrant(LEASE, 1), false);
    placements.get(LEASE)!.add(2);
    assert.equal(restarted.mayLackGrant(LEASE, 2), true);
  });

  test("a missing part counts as lost if its shard, and only this one, was not checked for a while", () => {
    placements.set(LEASE, new Set([1, 2]));
    parts.refresh();
    parts.blind(1);
    assert.equal(parts.mayLackGrant(LEASE, 1), false);
    assert.equal(parts.mayLackGrant(LEASE, 2), true);
  });

  test("such a part is doubtful until it is seen or there was time to grant it; one that was seen is not", () => {
    placements.set(LEASE, new Set([1, 2, 3]));
    parts.sawAlive(LEASE, 3);
    for (const shard of [1, 2, 3]) parts.blind(shard);
    const doubtful = () => [1, 2, 3].filter((shard) => parts.isDoubtful(LEASE, shard));
    assert.deepEqual(doubtful(), [1, 2]);
    parts.sawAlive(LEASE, 1);
    assert.deepEqual(doubtful(), [2]);
    parts.settle(LEASE, 2);
    assert.deepEqual(doubtful(), []);
    assert.equal(parts.mayLackGrant(LEASE, 2), false);
  });

  test("a vanished placement of this proxy is returned once; others and ended ones are not", () => {
    for (const lease of [1n, 2n, 3n]) placements.set(lease, new Set([1, 2]));
    parts.placedHere(1n);
    parts.placedHere(2n);
    assert.deepEqual(parts.refresh(), []);
    parts.forget(2n);
    placements.clear();
    assert.deepEqual(parts.refresh(), [{ lease: 1n, shards: [1, 2] }]);
    assert.deepEqual(parts.refresh(), []);
  });

  describe("an id that is granted again is another lease", () => {
    beforeEach(() => {
      placements.set(LEASE, new Set([1]));
      parts.sawAlive(LEASE, 1);
      // Ended and granted again, through another proxy.
      placements.delete(LEASE);
    });

    test("on the same shard", () => {
      placements.set(LEASE, new Set([1]));
      assert.equal(parts.mayLackGrant(LEASE, 1), true);
    });

    test("on another shard", () => {
      placements.set(LEASE, new Set([2]));
      assert.equal(parts.mayLackGrant(LEASE, 2), true);
      parts.refresh();
      assert.deepEqual([parts.on(1), parts.on(2)], [[], [LEASE]]);
    });

    test("and this proxy's placements of the earlier one have vanished", () => {
      placements.set(LEASE, new Set([1]));
      parts.placedHere(LEASE);
      placements.get(LEASE)!.add(2);
      parts.refresh();
      placements.delete(LEASE);
      placements.set(LEASE, new Set([2]));
      assert.deepEqual(parts.refresh(), [{ lease: LEASE, shards: [1, 2] }]);
      assert.deepEqual(parts.refresh(), []);
    });
  });

  describe("the end of a plan", () => {
    /** What every proxy folds: the lease has another home, and its part on `shards` is forgotten. */
    function end(next: number, ...shards: number[]): void {
      home = next;
      removed = shards;
      homes.position++;
      for (const shard of shards) placements.get(LEASE)?.delete(shard);
    }

    beforeEach(() => {
      placements.set(LEASE, new Set([HOME, 1, 2]));
      parts.placedHere(LEASE);
      for (const shard of [HOME, 1, 2]) parts.sawAlive(LEASE, shard);
    });

    test("makes a former home a part", () => {
      const before = parts.identify(LEASE);
      end(1);
      assert.deepEqual(parts.refresh(), []);
      assert.deepEqual(parts.shardsOf(LEASE), [1, HOME, 2]);
      assert.equal(parts.identify(LEASE), before, "it is the same lease");
      assert.equal(parts.mayLackGrant(LEASE, HOME), false, "it was granted there");
      assert.deepEqual(parts.on(HOME), [LEASE]);
    });

    test("takes the parts of removed shards", () => {
      const before = parts.identify(LEASE);
      end(1, HOME);
      assert.deepEqual(parts.refresh(), []);
      assert.deepEqual(parts.shardsOf(LEASE), [1, 2]);
      assert.equal(parts.identify(LEASE), before);
      assert.deepEqual([parts.on(HOME), parts.has(LEASE, HOME)], [[], false]);
    });

    test("is no new lease after the timeline was reloaded", () => {
      const before = parts.identify(LEASE);
      end(1, HOME);
      placements = new Map([[LEASE, new Set([1, 2])]]);
      assert.equal(parts.identify(LEASE), before);
      assert.deepEqual(parts.refresh(), []);
    });
  });

  test("a part that was seen is still known after the timeline was reloaded", () => {
    placements.set(LEASE, new Set([1, 2]));
    parts.sawAlive(LEASE, 1);
    placements = new Map([[LEASE, new Set([1, 2, 3])]]);
    assert.deepEqual(
      [1, 2, 3].map((shard) => parts.mayLackGrant(LEASE, shard)),
      [false, true, true],
    );
    placements = new Map([[LEASE, new Set([3])]]);
    assert.equal(parts.mayLackGrant(LEASE, 3), true);
    parts.refresh();
    assert.deepEqual([parts.on(1), parts.on(3)], [[], [LEASE]]);
  });

  test("a part on a shard that has left and come back since the last look is a new one", () => {
    placements.set(LEASE, new Set([1, 2]));
    for (const shard of [1, 2]) parts.sawAlive(LEASE, shard);
    // The end of one plan removes the shard, and the next plan brings it back.
    leftAt.set(1, 5);
    homes.position = 7;
    assert.equal(parts.mayLackGrant(LEASE, 1), true);
    assert.equal(parts.mayLackGrant(LEASE, 2), false);
    parts.sawAlive(LEASE, 1);
    homes.position = 9;
    assert.equal(parts.mayLackGrant(LEASE, 1), false);
  });
});
