import assert from "node:assert/strict";
import { test } from "node:test";
import type { Move } from "../../src/reshard/placement.js";
import { NO_SHARD, type Run } from "../../src/timeline/view.js";
import { MAX_RUNS, type Merged, Merger, type Source } from "../../src/watch/merger.js";
import type { RawEvent } from "../../src/wire/watch.js";
import { newSeed, random } from "./random.js";

const SHARDS = 3;

/** A timeline with runs of several shards, and sources that reach them later. */
class Fake {
  head = 1;
  readonly runs: Run[] = [];
  readonly cuts = [1, 1, 1];
  /** By revision: shard and shard revision. */
  readonly origin: { shard: number; shardRevision: number }[] = [];
  readonly sources = Array.from({ length: SHARDS }, (_, shard) => new FakeSource(shard));

  add(shard: number, length: number, hidden: number): void {
    const shardRevision = this.cuts[shard] + hidden + 1;
    this.runs.push({ revision: this.head + 1, shard, shardRevision, length });
    for (let i = 0; i < length; i++) {
      this.origin[this.head + 1 + i] = { shard, shardRevision: shardRevision + i };
    }
    this.cuts[shard] = shardRevision + length - 1;
    this.head += length;
  }

  runAt(revision: number): Run {
    const run = this.runs.find((r) => r.revision <= revision && revision < r.revision + r.length);
    if (run === undefined) throw new RangeError(`${revision}`);
    const offset = revision - run.revision;
    return {
      revision,
      shard: run.shard,
      shardRevision: run.shardRevision + offset,
      length: run.length - offset,
    };
  }
}

function eventOf(shard: number, modRevision: number): RawEvent {
  const key = Buffer.from(`${shard}:${modRevision}`);
  return { type: 0, key, modRevision, raw: key };
}

/** One event per shard revision, whose key names it. */
class FakeSource implements Source {
  reached = 1;
  private taken = 1;

  constructor(private readonly shard: number) {}

  take(shardRevision: number): RawEvent[] {
    assert.ok(shardRevision <= this.reached, `shard ${this.shard}: ${shardRevision} > ${this.reached}`);
    assert.ok(shardRevision > this.taken, `shard ${this.shard}: ${shardRevision} taken again`);
    this.taken = shardRevision;
    return [eventOf(this.shard, shardRevision)];
  }

  peek(): RawEvent[] {
    assert.fail("events are judged although no keys move");
  }

  skip(shardRevision: number): void {
    assert.ok(shardRevision > this.taken, `shard ${this.shard}: ${shardRevision} was taken`);
    this.taken = shardRevision - 1;
  }
}

const NO_MOVES = {
  judgedUntil: 0,
  isUndecided: () => false,
  countsAt: () => undefined,
  at: () => undefined,
};
const NONE_ENDED = { at: () => [], forget: () => {} };

const names = (events: readonly RawEvent[]) => events.map(({ key }) => Buffer.from(key).toString());

/** What watches of some shards get. */
class Watch {
  next = 2;

  constructor(readonly shards: readonly number[]) {}

  needs(shard: number): boolean {
    return this.shards.includes(shard);
  }

  /** The revisions that it gets from the timeline, up to `until`. */
  wanted(fake: Fake, until: number): number[] {
    const all = Array.from({ length: fake.head - 1 }, (_, i) => i + 2);
    return all.filter((revision) => revision < until && this.needs(fake.origin[revision].shard));
  }
}

test("every revision once and in order, and each as soon as its watches' shards have it", () => {
  const seed = newSeed("merger");
  for (let round = 0; round < 150; round++) {
    const message = `seed ${seed + round}`;
    const next = random(seed + round);
    const fake = new Fake();
    const merger = new Merger<string>(fake, 1, (shard) => fake.sources[shard], names, NO_MOVES, NONE_ENDED);
    const returned = new Set<number>();
    const watches = [[0], [1], [2], [0, 1], [0, 2], [1, 2]].map((shards) => new Watch(shards));
    const got = new Map<Watch, number[]>(watches.map((watch) => [watch, []]));
    const offer = ({ revision, events }: Merged<string>, lacks: (watch: Watch) => boolean) => {
      const { shard, shardRevision } = fake.origin[revision];
      assert.deepEqual(events, [`${shard}:${shardRevision}`], message);
      returned.add(revision);
      for (const watch of watches) {
        if (!watch.needs(shard) || !lacks(watch) || revision < watch.next) continue;
        if (watch.shards.some((one) => (merger.owing.get(one) ?? revision + 1) <= revision)) continue;
        got.get(watch)!.push(revision);
        watch.next = revision + 1;
      }
    };
    let expected = 2;
    const drain = (limit: number) => {
      for (let i = 0; i < limit; i++) {
        const merged = merger.next();
        if (merged === undefined) return;
        assert.equal(merged.revision, expected, message);
        assert.equal(merged.early, returned.has(expected), message);
        const { shard } = fake.origin[expected];
        for (const watch of watches) {
          if (!watch.needs(shard) || expected < watch.next) continue;
          got.get(watch)!.push(expected);
          watch.next = expected + 1;
        }
        expected++;
      }
    };
    for (let step = 0; step < 200; step++) {
      const choice = next(10);
      if (choice < 3) {
        fake.add(next(SHARDS), 1 + next(5), next(3));
        merger.learn();
      } else if (choice < 7) {
        const source = fake.sources[next(SHARDS)];
        source.reached += next(6);
      } else if (choice < 9) {
        drain(1 + next(10));
      } else {
        drain(Number.POSITIVE_INFINITY);
        let budget = next(4) === 0 ? next(10) : Number.POSITIVE_INFINITY;
        for (const { shard, merged } of merger.catchUp()) {
          assert.equal(merged.early, returned.has(merged.revision), message);
          offer(merged, (watch) => watch.needs(shard));
          if (--budget <= 0) break;
        }
        while (budget-- > 0) {
          const merged = merger.nextAhead();
          if (merged === undefined) break;
          assert.ok(!returned.has(merged.revision), message);
          offer(merged, () => true);
        }
        if (budget < Number.POSITIVE_INFINITY) continue;
        for (const watch of watches) {
          const missing = watch.wanted(fake, fake.head + 1).find((revision) => {
            const { shard, shardRevision } = fake.origin[revision];
            return fake.sources[shard].reached < shardRevision;
          });
          const wanted = watch.wanted(fake, missing ?? fake.head + 1);
          assert.deepEqual(got.get(watch), wanted, `${message}: shards ${watch.shards} wait for others`);
        }
      }
    }
    for (const source of fake.sources) source.reached = 10_000;
    drain(Number.POSITIVE_INFINITY);
    assert.equal(expected, fake.head + 1, message);
    for (const watch of watches) assert.deepEqual(got.get(watch), watch.wanted(fake, fake.head + 1), message);
    assert.equal(merger.ahead, merger.delivered);
    assert.equal(merger.owing.size, 0);
  }
});

test("shards without a source are skipped", () => {
  const fake = new Fake();
  for (const shard of [0, 1, 1, 2, 0, 1]) fake.add(shard, 2, 0);
  const merger = new Merger<string>(
    fake,
    1,
    (shard) => (shard === 1 ? undefined : fake.sources[shard]),
    names,
    NO_MOVES,
    NONE_ENDED,
  );
  merger.learn();
  for (const source of fake.sources) source.reached = 100;
  const revisions: number[] = [];
  for (let merged = merger.next(); merged !== undefined; merged = merger.next())
    revisions.push(merged.revision);
  assert.deepEqual(revisions, [2, 3, 8, 9, 10, 11]);
  assert.equal(merger.delivered, fake.head);
});

test("runs that are pruned from the timeline later are still known", () => {
  const fake = new Fake();
  for (const shard of [0, 1, 2]) fake.add(shard, 2, 0);
  const merger = new Merger<string>(fake, 1, (shard) => fake.sources[shard], names, NO_MOVES, NONE_ENDED);
  merger.learn();
  fake.runs.length = 0;
  for (const source of fake.sources) source.reached = 100;
  for (let revision = 2; revision <= 7; revision++) assert.equal(merger.next()!.revision, revision);
  fake.head++;
  assert.throws(() => merger.learn(), RangeError);
});

test("while a shard owes a revision, later ones take bounded memory, and none is lost", () => {
  let asked = 0;
  const timeline = {
    head: 1.5 * MAX_RUNS,
    // Every second revision is from another shard, which is the worst case.
    runAt: (revision: number): Run => {
      asked++;
      return { revision, shard: revision % 2, shardRevision: revision, length: 1 };
    },
  };
  const sources = [1, 1].map((reached) => ({ reached, peek: () => [], take: () => [], skip: () => {} }));
  const merger = new Merger<undefined>(
    timeline,
    1,
    (shard) => sources[shard],
    () => [],
    NO_MOVES,
    NONE_ENDED,
  );
  sources[1].reached = timeline.head;
  for (let i = 0; i < 10; i++) merger.learn();
  assert.equal(merger.next(), undefined);
  while (merger.nextAhead() !== undefined);
  assert.ok(merger.ahead > 1);
  assert.equal(asked, MAX_RUNS);
  sources[0].reached = timeline.head;
  for (let revision = 2; revision <= timeline.head; revision++) {
    if (revision % 1_000 === 0) merger.learn();
    if (merger.next()?.revision !== revision) assert.fail(`${revision} did not arrive`);
  }
  assert.equal(merger.next(), undefined);
  assert.equal(merger.ahead, merger.delivered);
});

/** A merger over shards 0 and 1 whose events are judged. `at` decides each. */
function judged(fake: Fake, at: (key: string, revision: number) => number | "undecided" | undefined) {
  const keyOf = (key: Uint8Array) => Buffer.from(key).toString();
  const moves = {
    judgedUntil: Number.POSITIVE_INFINITY,
    isUndecided: (key: Uint8Array, revision: number) => at(keyOf(key), revision) === "undecided",
    countsAt: (key: Uint8Array, _shard: number, _shardRevision: number, revision: number) => {
      const counts = at(keyOf(key), revision);
      return counts === "undecided" ? assert.fail(`${keyOf(key)} is not decided`) : counts;
    },
    at: () => ({ stops: new Map([[0, 1]]), readies: new Map([[1, 1]]) }) as unknown as Move,
  };
  const source = (shard: number) => ({
    get reached() {
      return fake.sources[shard].reached;
    },
    peek: (at: number) => [eventOf(shard, at)],
    take: (at: number) => fake.sources[shard].take(at),
    skip: (at: number) => fake.sources[shard].skip(at),
  });
  const sources = [source(0), source(1)];
  const merger = new Merger<string>(fake, 1, (shard) => sources[shard], names, moves, NONE_ENDED);
  merger.learn();
  for (const one of fake.sources) one.reached = 100;
  return merger;
}

test("an event whose key is in a frozen step waits; other shards' events are returned ahead", () => {
  const fake = new Fake();
  for (const shard of [0, 1, 0, 1]) fake.add(shard, 1, 0);
  let frozen = true;
  const merger = judged(fake, (key, revision) => (frozen && key === "0:2" ? "undecided" : revision));
  assert.equal(merger.next(), undefined);
  assert.deepEqual(merger.nextAhead(), { revision: 3, events: ["1:2"], early: true });
  assert.deepEqual(merger.nextAhead(), { revision: 5, events: ["1:3"], early: true });
  assert.equal(merger.nextAhead(), undefined);
  assert.deepEqual([...merger.owing], [[0, 2]]);
  frozen = false;
  const events = [merger.next(), merger.next(), merger.next(), merger.next()].map((merged) => merged?.events);
  assert.deepEqual(events, [["0:2"], ["1:2"], ["0:3"], ["1:3"]]);
});

test("events that do not count are dropped, and those that count at a move are returned with it", () => {
  const fake = new Fake();
  for (const shard of [0, 1]) fake.add(shard, 1, 0);
  fake.add(NO_SHARD, 1, 0);
  fake.add(0, 1, 0);
  const merger = judged(fake, (key, revision) => (key === "0:2" ? undefined : key === "1:2" ? 4 : revision));
  assert.deepEqual(merger.next(), { revision: 2, events: [], early: false });
  assert.deepEqual(merger.next(), { revision: 3, events: [], early: false });
  assert.ok(merger.hasLater);
  // Ahead, the shards of the move owe its event.
  assert.equal(merger.nextAhead(), undefined);
  assert.deepEqual(
    [...merger.owing],
    [
      [0, 4],
      [1, 4],
    ],
  );
  assert.deepEqual(merger.next(), { revision: 4, events: ["1:2"], early: false });
  assert.ok(!merger.hasLater);
  assert.deepEqual(merger.next()?.events, ["0:3"]);
});

test("a shard that was late catches up to a move that has an event, while another one is away", () => {
  const fake = new Fake();
  for (const shard of [0, 1]) fake.add(shard, 1, 0);
  fake.add(NO_SHARD, 1, 0);
  fake.add(1, 1, 0);
  const merger = judged(fake, (key, revision) => (key === "1:2" ? 4 : revision));
  for (const source of fake.sources) source.reached = 1;
  assert.equal(merger.next(), undefined);
  assert.equal(merger.nextAhead(), undefined);
  assert.deepEqual(Object.fromEntries(merger.owing), { 0: 2, 1: 3 });
  fake.sources[1].reached = 100;
  assert.deepEqual([...merger.catchUp()], [{ shard: 1, merged: { revision: 3, events: [], early: false } }]);
  assert.deepEqual(Object.fromEntries(merger.owing), { 0: 2, 1: 4 });
  fake.sources[0].reached = 100;
  const events = [merger.next(), merger.next(), merger.next(), merger.next()].map((merged) => merged?.events);
  assert.deepEqual(events, [["0:2"], [], ["1:2"], ["1:3"]]);
});
