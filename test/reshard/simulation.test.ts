import { test } from "node:test";
import { Locator } from "../../src/reshard/locator.js";
import { OffsetTable } from "../../src/reshard/offsets.js";
import { Placement } from "../../src/reshard/placement.js";
import { Fold } from "../../src/timeline/fold.js";
import { StoreFold } from "../../src/timeline/storeFold.js";
import {
  lateCleaning,
  lateDeletion,
  lateImport,
  lateRead,
  lateWatch,
  lateWrite,
  overtaken,
  readAboveStop,
  scanAboveStop,
} from "./sim/directed.js";
import { AMBUSHES, type Ambush, type ClientCall, type Director, mixOf, type Scenario } from "./sim/run.js";
import { run, testSeeds } from "./sim/testSeeds.js";

/*
 * Resharding in virtual time. Clients read, write, watch, delete and hold leases while keys move between shards. Proxies
 * pause, follow the log late and die. Several movers work at once and die at any step. Plans turn back. Compactions, bases,
 * reloads and moves of the timeline host happen at any time.
 */

// The file for npm run test:long goes on from there.
testSeeds("clients do not notice that keys move", { first: 1, count: 60 }, (seed) => run(seed));

for (const [name, direct] of Object.entries({
  lateRead,
  readAboveStop,
  scanAboveStop,
  lateCleaning,
  lateDeletion,
  lateImport,
  lateWatch,
  lateWrite,
  overtaken,
})) {
  test(`schedule ${name}: clients do not notice that keys move`, async () => {
    for (let seed = 1; seed <= 8; seed++) await run(seed, QUIET, [], direct);
  });
}

// --- mutations ---------------------------------------------------------------------------------------------

interface Mutation {
  /** The rule that the mutation removes. */
  readonly rule: string;
  /** Names of the rule in the simulation. By default the rule itself. */
  readonly broken?: readonly string[];
  /** Removes the rule from the product's code. Returns a function that restores it. */
  readonly patch?: () => () => void;
  /** First seed, shortly before one that fails. */
  readonly from?: number;
  /** Settings of the scenario under which the rule matters. */
  readonly over?: Partial<Scenario>;
  /** A schedule that makes the rule matter. */
  readonly direct?: Director;
}

/** Every kind of ambush, often, while a step is frozen. */
const DENSE: Partial<Scenario> = { ambushes: AMBUSHES, ambushed: 40, leases: true, compactions: true };

/** Slow movers and lagging proxies, with the given ambushes and calls. */
const directed = (
  ambushes: readonly Ambush[],
  mix: Partial<Record<ClientCall, number>>,
): Partial<Scenario> => ({
  ambushes,
  ambushed: 30,
  leases: true,
  mix: mixOf(mix),
  calm: 400,
  deaths: false,
  clients: 6,
  operations: 200,
  faults: { loss: 0, pause: 100, lag: 30, slow: 0.02, hesitation: 300 },
});

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

// biome-ignore lint/suspicious/noExplicitAny: a mutation replaces any method by any other
type Any = any;

function patch(target: Any, method: string, make: (original: Any) => (this: Any, ...args: Any[]) => unknown) {
  return () => {
    const original = target[method];
    target[method] = make(original);
    return () => {
      target[method] = original;
    };
  };
}

const MUTATIONS: readonly Mutation[] = [
  { rule: "every write compares gen", from: 31 },
  {
    // Both the fold and the mover check the claim.
    rule: "changes of the mover need the claim",
    from: 118,
    broken: ["a mover whose begin is not valid stops"],
    over: { calm: 200 },
    patch: patch(Placement.prototype, "isMover", () => () => true),
  },
  {
    rule: "up to M the source's events count only up to its stop",
    from: 56,
    over: DENSE,
    patch: patch(
      Locator.prototype,
      "countsAt",
      (original) =>
        function (key, shard, shardRevision, revision) {
          return (
            original.call(this, key, shard, shardRevision, revision) ??
            original.call(this, key, shard, 0, revision)
          );
        },
    ),
  },
  {
    rule: "what ends on the destination between ready and M counts at M",
    over: QUIET,
    direct: lateWatch,
    patch: patch(
      Locator.prototype,
      "countsAt",
      (original) =>
        function (key, shard, shardRevision, revision) {
          const at = original.call(this, key, shard, shardRevision, revision);
          return at === revision ? at : undefined;
        },
    ),
  },
  {
    rule: "events belong to the owner at their revision",
    patch: patch(
      Locator.prototype,
      "countsAt",
      () =>
        function (key, shard, _shardRevision, revision) {
          return shard === this.shardOf(key) ? revision : undefined;
        },
    ),
  },
  {
    rule: "reads at a revision ask the holder at it",
    from: 11,
    patch: patch(
      Locator.prototype,
      "holder",
      () =>
        function (key, revision) {
          const shard = this.shardOf(key);
          return { shard, at: this.cuts.cutAt(revision, shard) };
        },
    ),
  },
  { rule: "the mover compares its own gen", over: QUIET, direct: lateImport },
  {
    rule: "gen is raised on the destinations at the begin",
    broken: ["raise gen on the destinations", "the mover compares its own gen"],
    over: QUIET,
    direct: lateImport,
  },
  {
    rule: "leftovers on the destinations are cleared, or found",
    from: 6,
    broken: ["clear", "verify", "ready"],
    over: DENSE,
  },
  { rule: "the destinations are compared when the step is frozen", from: 44, broken: ["ready"], over: DENSE },
  {
    rule: "copies that others change are compared again",
    from: 56,
    broken: ["copies that others change are compared"],
    over: DENSE,
  },
  {
    rule: "copies without their lease are compared again",
    from: 44,
    broken: ["incomplete imports are compared"],
    over: DENSE,
  },
  {
    rule: "copies have their leases before the move",
    broken: ["copies have their leases", "verify", "ready"],
    over: DENSE,
  },
  {
    rule: "the move ends keys whose lease has ended",
    from: 9,
    over: directed(["expire"], { put: 20, get: 5, lease: 1 }),
  },
  {
    rule: "gen is raised on the sources for the freeze",
    broken: ["raise gen on the sources"],
    over: QUIET,
    direct: lateWrite,
  },
  {
    rule: "gen is raised on the destinations for the freeze",
    from: 19,
    broken: ["raise gen on the destinations for the freeze"],
    over: QUIET,
    direct: lateDeletion,
  },
  { rule: "the sources are drained up to their stops", from: 11, broken: ["drain", "ready"] },
  { rule: "feeds wait for a frozen step", from: 56, over: DENSE },
  {
    rule: "feeds begin at a step's freeze",
    over: QUIET,
    direct: lateWatch,
  },
  { rule: "a read also reads the end of the log", from: 12, broken: ["read the log's end"] },
  {
    rule: "reads are judged by where the key is when they are answered",
    broken: ["reads are judged"],
    over: QUIET,
    direct: lateRead,
  },
  {
    rule: "reads are valid up to the stop",
    broken: ["reads stop at stop"],
    over: QUIET,
    direct: readAboveStop,
  },
  { rule: "scans wait for a frozen step", over: QUIET, direct: scanAboveStop },
  { rule: "calls wait for a frozen step" },
  { rule: "revocations wait for a frozen step", from: 55, over: directed(["revoke"], { put: 10, lease: 4 }) },
  {
    rule: "imports have the revisions of their twins",
    patch: patch(StoreFold.prototype, "toRevision", () => Fold.prototype.toRevision),
  },
  {
    rule: "version offsets correct the versions of copies",
    patch: patch(OffsetTable.prototype, "of", () => () => 0),
  },
  {
    rule: "compares know all twins of a revision",
    from: 37,
    broken: ["compares know all twins"],
    over: { leases: false, mix: mixOf({ "put all": 10, get: 10, swap: 20 }) },
  },
  { rule: "a mover whose begin is not valid stops", over: QUIET, direct: overtaken },
  { rule: "the mover compares gen where it cleans", over: QUIET, direct: lateCleaning },
  { rule: "the end of a plan seals the cleaning" },
  { rule: "compactions spare what a step needs", from: 26, over: DENSE },
  {
    rule: "moves are kept until a compaction has passed them",
    over: { compactions: true },
    patch: patch(
      Placement.prototype,
      "compact",
      () =>
        function () {
          this.state.moves = [];
        },
    ),
  },
  { rule: "a base holds the moves", from: 43 },
  { rule: "a base holds the frozen step", from: 10 },
  {
    rule: "positions keep rising on the next host",
    over: { hostMoves: true, calm: 60 },
    patch: patch(StoreFold.prototype, "positionOf", () => (hostRevision) => hostRevision),
  },
  {
    rule: "a put with an entry compares the base",
    over: { hostMoves: true, calm: 20, mix: mixOf({ put: 20, get: 10 }) },
  },
  {
    rule: "a put with an entry is not the log's own",
    patch: patch(
      Fold.prototype,
      "apply",
      (original) =>
        function ({ own: _, ...entry }, hostRevision) {
          return original.call(this, entry, hostRevision);
        },
    ),
  },
  { rule: "a base's mod revision is of one host", from: 23, over: { hostMoves: true, calm: 20 } },
];

/** Number of seeds within which a mutation must fail. */
const MAX_SEEDS = 150;

for (const { rule, broken, patch: apply, from = 1, over, direct } of MUTATIONS) {
  test(`is caught without "${rule}"`, async () => {
    const restore = apply?.();
    try {
      for (let seed = from; seed < from + MAX_SEEDS; seed++) {
        const failure = await run(seed, over, broken ?? (apply === undefined ? [rule] : []), direct).then(
          () => undefined,
          (error: Error) => error,
        );
        if (failure !== undefined) {
          if (process.env.BRAID_SIM_VERBOSE)
            console.log(`${rule} (seed ${seed}): ${failure.message.split("\n")[0]}`);
          return;
        }
      }
    } finally {
      restore?.();
    }
    throw new Error(`${MAX_SEEDS} seeds passed without the rule`);
  });
}
