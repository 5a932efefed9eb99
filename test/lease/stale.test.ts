import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { Streams } from "../../src/lease/callerStreams.js";
import type { LeaseDeps } from "../../src/lease/deps.js";
import type { Endings } from "../../src/lease/endings.js";
import type { Homes } from "../../src/lease/homes.js";
import type { LeaseCalls, Part } from "../../src/lease/leaseCalls.js";
import { Parts } from "../../src/lease/parts.js";
import { Placing } from "../../src/lease/placing.js";
import { Reaper } from "../../src/lease/reaper.js";
import type { Renewed } from "../../src/lease/renewalStream.js";
import { Renewing } from "../../src/lease/renewing.js";
import type { Shard } from "../../src/shard/shard.js";
import type { Timeline } from "../../src/timeline/view.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { shardSet } from "../support/shardSet.js";

const LEASE = 7n;
const [HOME, SHARD, SLOW] = [0, 1, 2];
const PART: Part = { ttl: 60, grantedTtl: 60, keys: [] };

/*
 * A part is missing while it is being placed. Code that saw this and decides only later must not take the part for lost.
 * Only the order of events matters, so the shards are fakes.
 */
describe("a part that was missing a moment ago", () => {
  /** By shard: the leases that it has. */
  let shards: Set<bigint>[];
  let placements: Map<bigint, Set<number>>;
  let ended: bigint[];
  let parts: Parts;
  let placing: Placing;
  let endings: Endings;
  let timeline: Timeline;
  let calls: LeaseCalls;
  let deps: LeaseDeps;
  /** Delays the grant. */
  let granting: Promise<void>;
  /** Delays the shard's response about a lease, after the shard has read its state. */
  let answering: (shard: number, lease: bigint) => Promise<void> | undefined;

  beforeEach(() => {
    shards = [new Set([LEASE]), new Set(), new Set([LEASE])];
    placements = new Map([[LEASE, new Set([SLOW])]]);
    ended = [];
    granting = Promise.resolve();
    answering = () => undefined;
    const homes = {
      of: () => HOME,
      isInUse: () => true,
      hasLeftSince: () => false,
      position: 0,
      catchUp: async () => {},
    } as unknown as Homes;
    parts = new Parts(() => placements, homes);
    calls = {
      look: async (shard: number, lease: bigint) => {
        const part = shards[shard].has(lease) ? PART : undefined;
        await answering(shard, lease);
        return part;
      },
      grant: async (shard: number, lease: bigint) => {
        await granting;
        shards[shard].add(lease);
      },
      list: async (shard: number) => [...shards[shard]],
    } as unknown as LeaseCalls;
    endings = {
      isEnding: () => false,
      end: async (lease: bigint) => void ended.push(lease),
      endInBackground: (lease: bigint) => void ended.push(lease),
    } as unknown as Endings;
    timeline = {
      sync: async () => {},
      beginWrite: async () => {},
      place: async (lease: bigint, shard: number) => {
        const there = placements.get(lease) ?? new Set();
        placements.set(lease, there.add(shard));
      },
      onAdvance: () => () => {},
    } as unknown as Timeline;
    const names = ["a", "b", "c"];
    deps = {
      shards: shardSet(names.map((name) => ({ name }) as Shard)),
      homes,
      timeline,
      calls,
      parts,
      log: { warn() {} },
      runtime: systemRuntime,
    };
    placing = new Placing(deps, endings);
  });

  /** Begins to place the lease. Once the placement is logged, returns a function that completes it. */
  async function beginPlacing(): Promise<() => Promise<void>> {
    let grant = () => {};
    granting = new Promise((resolve) => {
      grant = resolve;
    });
    const placed = placing.ensurePlaced(LEASE, SHARD);
    while (!placements.get(LEASE)?.has(SHARD)) await new Promise(setImmediate);
    return () => {
      grant();
      return placed;
    };
  }

  test("does not end its lease when a keep-alive waits for another shard in the meantime", async () => {
    const finish = await beginPlacing();
    const waiting: Renewed[] = [];
    const streams = shardSet(shards).map((there, shard) => ({
      renew: (lease: bigint, done: Renewed) => {
        if (shard === SLOW) waiting.push(done);
        else done(undefined, there.has(lease) ? 60 : 0);
      },
    }));
    const renewing = new Renewing(
      { of: () => streams as unknown as Streams },
      deps.homes,
      parts,
      placing,
      endings,
      { read: async () => {} },
    );
    const renewed = new Promise<number>((resolve) => {
      renewing.renew(LEASE, (_, ttl) => resolve(ttl));
    });
    while (waiting.length === 0) await new Promise(setImmediate);
    await finish();
    waiting[0](undefined, 60);
    assert.equal(await renewed, 60);
    assert.deepEqual(ended, []);
  });

  test("does not end its lease when it was one of many that a sweep queried", async () => {
    const finish = await beginPlacing();
    // Another lease that the shard lacks. The response about it takes longer.
    const OTHER = 8n;
    shards[HOME].add(OTHER);
    placements.set(OTHER, new Set([SHARD]));
    let asked = 0;
    let answer = () => {};
    const held = new Promise<void>((resolve) => {
      answer = resolve;
    });
    answering = (shard, lease) => {
      if (shard !== SHARD || lease !== OTHER) return undefined;
      asked++;
      return held;
    };
    const reaper = new Reaper(deps, placing, endings);
    while (asked === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await finish();
    answer();
    // Long enough for the next sweep to finish as well.
    for (let i = 0; i < 200; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    reaper.stop();
    assert.deepEqual(ended, []);
    assert.ok(shards[SHARD].has(OTHER), "the other was granted what it lacked");
  });

  test("ends its lease when it is missing again after it was there", async () => {
    const finish = await beginPlacing();
    await finish();
    shards[SHARD].delete(LEASE);
    assert.equal(await placing.heal(LEASE, SHARD), false);
    assert.deepEqual(ended, [LEASE]);
  });
});
