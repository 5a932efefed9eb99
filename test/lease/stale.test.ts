import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { LeaseCalls, Part } from "../../src/lease/calls.js";
import type { Endings } from "../../src/lease/ending.js";
import { Parts } from "../../src/lease/parts.js";
import { Placing } from "../../src/lease/placing.js";
import { Reaper } from "../../src/lease/reaper.js";
import { Renewing } from "../../src/lease/renewing.js";
import type { RenewalStream, Renewed } from "../../src/lease/upstream.js";
import type { Timeline } from "../../src/timeline/view.js";
import { systemRuntime } from "../../src/turn/runtime.js";

const LEASE = 7n;
const [HOME, SHARD, SLOW] = [0, 1, 2];
const PART: Part = { ttl: 60, grantedTtl: 60, keys: [] };

/*
 * A part is missing while it is being placed. Who has seen that and only then finds time to judge must not take it
 * for lost. The order of events is what matters, so the shards are played here.
 */
describe("a part that was missing a moment ago", () => {
  /** Shard → leases that it has. */
  let shards: Set<bigint>[];
  let placements: Map<bigint, Set<number>>;
  let ended: bigint[];
  let parts: Parts;
  let placing: Placing;
  let endings: Endings;
  let timeline: Timeline;
  let calls: LeaseCalls;
  /** Holds back the grant. */
  let granting: Promise<void>;
  /** Holds back what is asked of a shard about a lease, after the shard has answered. */
  let answering: (shard: number, lease: bigint) => Promise<void> | undefined;

  beforeEach(() => {
    shards = [new Set([LEASE]), new Set(), new Set([LEASE])];
    placements = new Map([[LEASE, new Set([SLOW])]]);
    ended = [];
    granting = Promise.resolve();
    answering = () => undefined;
    const homeOf = () => HOME;
    parts = new Parts(() => placements, homeOf);
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
    placing = new Placing(calls, parts, endings, timeline, homeOf, { warn() {} } as never, 3);
  });

  /** Begins to place the lease; returns what lets it go on, once it is logged, to its end. */
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

  test("does not end its lease when a keep-alive waited for another shard meanwhile", async () => {
    const finish = await beginPlacing();
    const waiting: Renewed[] = [];
    const streams = shards.map((there, shard) => ({
      renew: (lease: bigint, done: Renewed) => {
        if (shard === SLOW) waiting.push(done);
        else done(undefined, there.has(lease) ? 60 : 0);
      },
    }));
    const renewing = new Renewing(
      { of: () => streams as unknown as RenewalStream[] },
      parts,
      placing,
      endings,
    );
    const renewed = new Promise<number>((resolve) => {
      renewing.renew(LEASE, (_, ttl) => resolve(ttl));
    });
    await finish();
    waiting[0](undefined, 60);
    assert.equal(await renewed, 60);
    assert.deepEqual(ended, []);
  });

  test("does not end its lease when it was one of many that a sweep asked for", async () => {
    const finish = await beginPlacing();
    // Others that the shard has not got either; the answer about them takes longer.
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
    const reaper = new Reaper(
      calls,
      parts,
      placing,
      endings,
      timeline,
      { warn() {} },
      ["a", "b", "c"],
      systemRuntime,
    );
    while (asked === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await finish();
    answer();
    // The sweep after this one has judged, too.
    for (let i = 0; i < 200; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    reaper.stop();
    assert.deepEqual(ended, []);
    assert.ok(shards[SHARD].has(OTHER), "the other was granted what it lacked");
  });

  test("ends it when it is missing still, after it was there", async () => {
    const finish = await beginPlacing();
    await finish();
    shards[SHARD].delete(LEASE);
    assert.equal(await placing.heal(LEASE, SHARD), false);
    assert.deepEqual(ended, [LEASE]);
  });
});
