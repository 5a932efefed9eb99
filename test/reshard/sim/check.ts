import assert from "node:assert/strict";
import { Truth } from "./truth.js";
import type { Observation, SeenEvent, WatchRecord, World } from "./world.js";

/** Compares everything that clients saw with the truth. Throws an AssertionError at the first difference. */
export function checkAll(world: World): void {
  const truth = new Truth(world);
  for (const observation of world.observations) checkAnswer(truth, observation);
  checkRealTime(world.observations);
  checkRevoked(world);
  checkWatches(world, truth);
  checkNothingTwice(world);
  checkEnd(world, truth);
}

function checkAnswer(truth: Truth, observation: Observation): void {
  const { what, revision, wrote, read, before, compared, released } = observation;
  assert.ok(revision <= truth.head, `${what}: revision ${revision} is not reached`);
  if (read !== undefined) {
    const expected = truth.range(read.from, read.to, revision);
    assert.deepEqual(read.items, expected, `${what}: not the state at ${revision}`);
  }
  if (before !== undefined) {
    assert.deepEqual(
      before.item,
      truth.at(before.key, revision - 1),
      `${what}: not the state before ${revision}`,
    );
  }
  if (released !== undefined) {
    const left = truth.range("", "\xff\xff", revision).filter(({ lease }) => lease === released);
    assert.deepEqual(left, [], `${what}: keys are left at ${revision}`);
  }
  if (compared !== undefined) {
    const mod = truth.at(compared.key, wrote ? revision - 1 : revision)?.mod ?? 0;
    assert.equal(mod === compared.mod, compared.succeeded, `${what}: the key had ${mod} at ${revision}`);
  }
}

/** A header's revision is not below that of any response that preceded the call; that of a write is above. */
function checkRealTime(observations: readonly Observation[]): void {
  const fresh = observations.filter((each) => each.fresh);
  const byEnd = [...fresh].sort((a, b) => a.end - b.end);
  let next = 0;
  let newest = 0;
  let by = "";
  for (const { what, begin, revision, wrote } of [...fresh].sort((a, b) => a.begin - b.begin)) {
    for (; next < byEnd.length && byEnd[next].end < begin; next++) {
      if (byEnd[next].revision > newest) {
        newest = byEnd[next].revision;
        by = byEnd[next].what;
      }
    }
    assert.ok(
      wrote ? revision > newest : revision >= newest,
      `${what}: ${revision} after ${newest} was seen by ${by}`,
    );
  }
}

/** No linearizable read that follows a lease's revocation returns a key of the lease. */
function checkRevoked({ observations, revoked }: World): void {
  for (const { what, begin, fresh, read } of observations) {
    for (const { key, lease } of fresh ? (read?.items ?? []) : []) {
      const at = revoked.get(lease);
      assert.ok(
        at === undefined || begin < at,
        `${what}: ${key} has the lease ${lease}, which was revoked before`,
      );
    }
  }
}

/** Every watch got every event of its range, once and in order, except those that a compaction took from it. */
function checkWatches(world: World, truth: Truth): void {
  const all = [...truth.events].sort(([a], [b]) => a - b).flatMap(([, events]) => events);
  const order = (a: SeenEvent, b: SeenEvent) => a.revision - b.revision || (a.key < b.key ? -1 : 1);
  for (const [index, watch] of world.watches.entries()) {
    const { from, to, start, progress, gaps } = watch;
    const expected = all.filter(
      ({ revision, key }) =>
        revision >= start &&
        revision <= progress &&
        key >= from &&
        key < to &&
        !gaps.some((gap) => revision >= gap.from && revision <= gap.to),
    );
    for (let i = 1; i < watch.events.length; i++) {
      const [before, after] = [watch.events[i - 1].revision, watch.events[i].revision];
      assert.ok(before <= after, `watch ${index}: event of ${after} after ${before}`);
    }
    const got = [...watch.events].sort(order);
    const wanted = expected.sort(order);
    if (watch.prevKv !== undefined) withoutMissing(world, watch, got, wanted);
    assert.deepEqual(got, wanted, `watch ${index} of [${from}, ${to})`);
  }
}

/** Drops the previous keys that a watch did not bring: because it need not, or because they were compacted. */
function withoutMissing(world: World, watch: WatchRecord, got: SeenEvent[], wanted: SeenEvent[]): void {
  for (const [index, event] of got.entries()) {
    const other = wanted[index];
    if (other === undefined || event.before !== undefined || other.before === undefined) continue;
    if (watch.prevKv === true && event.revision > world.compacted) continue;
    wanted[index] = { ...other, before: undefined };
  }
}

/** No client's call took effect twice, except deletions of ranges. */
function checkNothingTwice(world: World): void {
  const seen = new Set<number>();
  for (const shard of world.shards) {
    for (const events of shard.history) {
      const operations = new Set(events.map(({ origin }) => (origin.by === "client" ? origin.operation : 0)));
      for (const operation of operations) {
        if (operation === 0 || world.ranges.has(operation)) continue;
        assert.ok(!seen.has(operation), `operation ${operation} has taken effect twice`);
        seen.add(operation);
      }
    }
  }
}

/** At the end, every shard holds its keys and no others, and no key has outlived its lease. */
function checkEnd(world: World, truth: Truth): void {
  const { inForce, shards, plan } = truth.placement;
  assert.equal(plan, undefined, "the plan is not done");
  const router = world.maps.router(inForce, shards);
  for (const [index, shard] of world.shards.entries()) {
    for (const { key, value } of shard.range("\x01", "\xff\xff")) {
      assert.equal(router.shardOf(Buffer.from(key, "latin1")), index, `${key} is on shard ${index}`);
      assert.equal(value, truth.at(key, truth.head)?.value, `${key} on shard ${index} at the end`);
    }
  }
  for (const { key, lease } of truth.range("", "\xff\xff", truth.head)) {
    assert.ok(!world.ended.has(lease), `${key} has outlived its lease ${lease}`);
  }
}
