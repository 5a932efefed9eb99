import { test } from "node:test";
import { Locator } from "../../src/reshard/locator.js";
import { Fold } from "../../src/timeline/fold.js";
import { NO_SHARD } from "../../src/timeline/view.js";
import { EndedKeys } from "../../src/watch/endedKeys.js";
import { EventEncoder } from "../../src/watch/eventEncoder.js";
import { Moves } from "../../src/watch/moves.js";
import { endWithMove, lateFeed, lateLog, lateWatch } from "../reshard/sim/directed.js";
import { AMBUSHES, type Director, mixOf, type Scenario } from "../reshard/sim/run.js";
import { testSeeds } from "../reshard/sim/testSeeds.js";
import { run } from "./sim/run.js";

/*
 * The real hub, in virtual time, while keys move between shards. Movers, proxies and clients are those of test/reshard.
 */

// The file for npm run test:long goes on from there.
testSeeds("watches do not notice that keys move", { first: 1, count: 30 }, (seed) => run(seed));

for (const [name, direct] of Object.entries({ endWithMove, lateFeed, lateLog, lateWatch })) {
  test(`schedule ${name}: watches do not notice that keys move`, async () => {
    for (let seed = 1; seed <= 8; seed++) await run(seed, QUIET, direct);
  });
}

// --- mutations ---------------------------------------------------------------------------------------------

// biome-ignore lint/suspicious/noExplicitAny: a mutation replaces any method by any other
type Any = any;

/** Removes a rule from the product's code. */
interface Mutation {
  readonly rule: string;
  readonly target: Any;
  readonly method: string;
  readonly replace: (original: Any) => (this: Any, ...args: Any[]) => unknown;
  /** First seed, shortly before one that fails. */
  readonly from?: number;
  readonly over?: Partial<Scenario>;
  readonly direct?: Director;
}

const DENSE: Partial<Scenario> = { ambushes: AMBUSHES, ambushed: 40, leases: true, compactions: true };

/** No disturbances other than those of a schedule. */
const QUIET: Partial<Scenario> = {
  ambushes: [],
  leases: true,
  mix: mixOf({ put: 10 }),
  calm: 100_000,
  deaths: false,
  proxies: 3,
  faults: { loss: 0, pause: 0, lag: 10, slow: 0, hesitation: 1 },
};

const MUTATIONS: readonly Mutation[] = [
  {
    rule: "while keys move, each event is judged",
    target: Moves.prototype,
    method: "countsAt",
    replace: () => (_key, _shard, _shardRevision, revision) => revision,
  },
  {
    rule: "events are judged by their own revision",
    target: Moves.prototype,
    method: "countsAt",
    replace: () =>
      function (key, shard, _shardRevision, revision) {
        return shard === this.timeline.locator.shardOf(key) ? revision : undefined;
      },
  },
  {
    rule: "what ends on the destination between ready and M counts at M",
    over: QUIET,
    direct: lateWatch,
    target: Moves.prototype,
    method: "countsAt",
    replace: (original) =>
      function (key, shard, shardRevision, revision) {
        const at = original.call(this, key, shard, shardRevision, revision);
        return at === revision ? at : undefined;
      },
  },
  {
    rule: "keys that end with a move have an event",
    over: QUIET,
    direct: endWithMove,
    target: EndedKeys.prototype,
    method: "at",
    replace: () => () => [],
  },
  {
    rule: "the events of keys that end with a move have previous keys",
    over: QUIET,
    direct: endWithMove,
    target: EndedKeys.prototype,
    method: "previous",
    replace: () => async () => undefined,
  },
  {
    rule: "a watch waits for a frozen step",
    from: 49,
    over: DENSE,
    target: Moves.prototype,
    method: "isUndecided",
    replace: () => () => false,
  },
  {
    rule: "a feed begins at a step's freeze",
    over: QUIET,
    direct: lateWatch,
    target: Moves.prototype,
    method: "feedFrom",
    replace: () => (revision) => revision,
  },
  {
    rule: "imports have the revisions of their twins",
    target: EventEncoder.prototype,
    method: "mapsOf",
    replace: (original) =>
      function (shard) {
        const { plain } = original.call(this, shard);
        const { timeline } = this;
        const full = (at: number) =>
          at === this.ownShardRevision ? plain(at) : Fold.prototype.toRevision.call(timeline.fold, shard, at);
        return {
          plain,
          full: Object.assign(full, { versionOffset: original.call(this, shard).full.versionOffset }),
        };
      },
  },
  {
    rule: "version offsets correct the versions of events",
    from: 55,
    target: EventEncoder.prototype,
    method: "mapsOf",
    replace: (original) =>
      function (shard) {
        const { plain } = original.call(this, shard);
        return { plain, full: plain };
      },
  },
  {
    rule: "events are judged until the plan's last deletions",
    target: Moves.prototype,
    method: "refresh",
    replace: (original) =>
      function (oldest) {
        const changed = original.call(this, oldest);
        if (this.plan === undefined) this.judgedUntil = 0;
        return changed;
      },
  },
  {
    rule: "moves are kept until the watches have passed them",
    over: QUIET,
    direct: lateFeed,
    target: Moves.prototype,
    method: "refresh",
    replace: (original) =>
      function () {
        return original.call(this, Number.POSITIVE_INFINITY);
      },
  },
  {
    rule: "watches end below a move that was forgotten before they heard of it",
    over: QUIET,
    direct: lateLog,
    target: Fold.prototype,
    method: "runAt",
    replace: (original) =>
      function (revision) {
        try {
          return original.call(this, revision);
        } catch {
          return { revision, shard: NO_SHARD, shardRevision: 0, length: 1 };
        }
      },
  },
  {
    rule: "a range's shards follow the placement",
    from: 34,
    target: Moves.prototype,
    method: "shardsOf",
    replace: (original) =>
      function (reach, revision) {
        if (reach.version < 0) return original.call(this, reach, revision);
        return reach.shards;
      },
  },
  {
    rule: "ahead of a shard that owes, a range needs the shards of all moves that are not passed",
    from: 23,
    target: Locator.prototype,
    method: "shardsFrom",
    replace: () =>
      function (range) {
        return this.shardsOf(range);
      },
  },
];

/** Number of seeds within which a mutation must fail. */
const MAX_SEEDS = 100;

for (const { rule, target, method, replace, from = 1, over, direct } of MUTATIONS) {
  test(`is caught without "${rule}"`, async () => {
    const original = target[method];
    target[method] = replace(original);
    try {
      for (let seed = from; seed < from + MAX_SEEDS; seed++) {
        const failure = await run(seed, over, direct).then(
          () => undefined,
          (error: Error) => error,
        );
        if (failure === undefined) continue;
        if (process.env.BRAID_SIM_VERBOSE)
          console.log(`${rule} (seed ${seed}): ${failure.message.split("\n")[0]}`);
        return;
      }
    } finally {
      target[method] = original;
    }
    throw new Error(`${MAX_SEEDS} seeds passed without the rule`);
  });
}
