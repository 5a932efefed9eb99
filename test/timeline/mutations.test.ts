import { test } from "node:test";
import type { Change } from "../../src/reshard/change.js";
import { TwinTable } from "../../src/reshard/twins.js";
import { BaseWriter } from "../../src/timeline/baseWriter.js";
import { Changes } from "../../src/timeline/changes.js";
import type { Entry } from "../../src/timeline/entry.js";
import { Fold } from "../../src/timeline/fold.js";
import { FoldedLog } from "../../src/timeline/foldedLog.js";
import { Follower } from "../../src/timeline/follower.js";
import type { Committed, NextHost } from "../../src/timeline/host.js";
import { FOLDED } from "../../src/timeline/logEnds.js";
import { StoreFold, type StoreState } from "../../src/timeline/storeFold.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import { TimelineLog } from "../../src/timeline/timelineLog.js";
import type { EndCarrier, LogEnd, Sealed } from "../../src/timeline/view.js";
import { simulate } from "./sim/simulate.js";
import { type Mutation, ShortEpochLog } from "./sim/world.js";

/** Seeds in which a mutation must be noticed. */
const SEEDS = Number(process.env.SEEDS ?? 2_000);

/** Each mutation breaks one rule of the protocol; some seed must notice. `from`: the first seed, shortly before one that does. */
const MUTATIONS: readonly [name: string, mutation: Mutation | (() => () => void), from?: number][] = [
  [
    "answer without sealing",
    {
      timeline: class extends SharedTimeline {
        override isSealed(): boolean {
          return true;
        }
      },
    },
  ],
  [
    "read without the log's end",
    {
      timeline: class extends SharedTimeline {
        override sync(): Promise<void> {
          return Promise.resolve();
        }
      },
    },
  ],
  [
    "join a read of the log's end that was sent before",
    {
      timeline: class extends SharedTimeline {
        private running: Promise<void> | undefined;
        override sync(): Promise<void> {
          this.running ??= super.sync().finally(() => {
            this.running = undefined;
          });
          return this.running;
        }
      },
    },
    133,
  ],
  [
    "label a read with what is folded here",
    {
      timeline: class extends SharedTimeline {
        override beginRead(): LogEnd {
          return FOLDED;
        }
      },
    },
  ],
  [
    "label a read by a read of the log's end that was sent before",
    {
      timeline: class extends SharedTimeline {
        private before: LogEnd | undefined;
        override beginRead(shard: number): LogEnd {
          const end = this.before ?? super.beginRead(shard);
          this.before = end;
          end.whenFolded(() => {
            this.before = undefined;
          });
          return end;
        }
      },
    },
    547,
  ],
  [
    "take every shard's answer for the host's",
    {
      timeline: class extends SharedTimeline {
        override beginRead(shard: number): LogEnd {
          return shard === 0 ? FOLDED : super.beginRead(shard);
        }
      },
    },
  ],
  [
    "take the log's end from the host's answer before it is sealed",
    {
      timeline: class extends SharedTimeline {
        override carryEnd(shard: number): EndCarrier | undefined {
          const carry = super.carryEnd(shard);
          return carry && ((shardRevision) => carry(shardRevision && 1));
        }
      },
    },
    115,
  ],
  [
    "take the log's end from a read of the host that was sent before",
    {
      timeline: class extends SharedTimeline {
        private newest = 1;
        override carryEnd(shard: number): EndCarrier | undefined {
          const carry = super.carryEnd(shard);
          return (
            carry &&
            ((shardRevision) => {
              carry(shardRevision && this.newest);
              this.newest = shardRevision ?? this.newest;
            })
          );
        }
      },
    },
    115,
  ],
  [
    "label every read with the newest revision",
    () =>
      patch(Fold.prototype, "readRevision", function (this: Fold) {
        return this.head;
      }),
  ],
  [
    "delete the entries of the epoch just closed",
    {
      log: class extends ShortEpochLog {
        protected override firstNeededEpoch(): number {
          return super.firstNeededEpoch() + 1;
        }
      },
    },
  ],
  [
    "fold an own entry at once though others lie before it",
    () =>
      patch(Follower.prototype, "follows", function (this: Follower, commit: Committed) {
        return follows.call(this, { ...commit, previous: 0 });
      }),
  ],
  [
    "fold an own entry while the log is reloaded",
    () =>
      patch(Follower.prototype, "follows", function (this: Inner, { revision, previous }: Committed) {
        return previous <= this.folded.seen && this.folded.seen < revision;
      }),
    342,
  ],
  ["append and rebase without the compare", { unguarded: true }],
  ["give the log's own writes revisions", () => patch(Fold.prototype, "hide", () => {})],
  [
    "claim to have folded more than was folded",
    () => {
      // Now and then, whichever proxy it hits.
      let applied = 0;
      return patch(Fold.prototype, "apply", function (this: Fold, entry: Entry, hostRevision: number) {
        const dropped = ++applied % 50 === 0 ? { ...entry, reached: new Map() } : entry;
        return original.call(this, dropped, hostRevision);
      });
    },
  ],
  [
    "give no revision to a put that carries an entry",
    () =>
      patch(
        Fold.prototype,
        "apply",
        function (this: Fold, { own: _, ...entry }: Entry, hostRevision: number) {
          return original.call(this, entry, hostRevision);
        },
      ),
  ],
  [
    "carry an entry in a sole store",
    {
      log: class extends ShortEpochLog {
        override get canCarry(): boolean {
          return super.canCarry || this.fold.isSole;
        }
      },
    },
    215,
  ],
  ["hand events out before the shard has delivered them", { eagerWatch: true }],
  [
    "give the marks of a new store revisions",
    () =>
      patch(Fold.prototype, "begin", function (this: Fold, shard: number, reached: number) {
        begin.call(this, shard, reached, []);
      }),
  ],
  ["mark the host without putting the log's tail", { silentMark: true }, 140],
  [
    "send a change again while its first append may still take effect",
    {
      log: class extends ShortEpochLog {
        override fence(): Promise<void> {
          return Promise.resolve();
        }
      },
    },
    410,
  ],
  [
    "log a change above a base without a placement",
    {
      log: class extends ShortEpochLog {
        override requirePlacement(): Promise<void> {
          return Promise.resolve();
        }
      },
    },
  ],
  [
    "log a change without its seals",
    () =>
      patch(Changes.prototype, "propose", function (this: Changes, change: Change) {
        return propose.call(this, change, new Map());
      }),
  ],
  [
    "start on a host from which the log has moved",
    () =>
      patch(Follower.prototype, "goOn", function (this: { follow(): void }) {
        this.follow();
        return Promise.resolve();
      }),
  ],
  [
    "append before the base on the next host is known",
    () =>
      patch(TimelineLog.prototype, "append", function (this: Inner, ...args: unknown[]) {
        const kept = this.folded.isMoving;
        this.folded.isMoving = false;
        append.apply(this as unknown as TimelineLog, args as Parameters<typeof append>);
        this.folded.isMoving = kept;
      }),
    34,
  ],
  [
    "begin the revisions of the next host where those of the old one end",
    () =>
      patch(FoldedLog.prototype, "leaveFor", function (this: FoldedLog, next: NextHost) {
        const { seen } = this;
        leaveFor.call(this, next);
        this.seen = seen;
      }),
  ],
  [
    "forget the moves when a base is loaded",
    () =>
      patch(StoreFold, "of", (host: number, state: StoreState) =>
        storeFoldOf.call(StoreFold, host, { ...state, placement: { ...state.placement, moves: [] } }),
      ),
  ],
  [
    "forget the imports in parts when a base is loaded",
    () =>
      patch(StoreFold, "of", (host: number, state: StoreState) => {
        const { twins } = state.placement;
        const kept = new TwinTable();
        for (const shard of twins.shardIndices) kept.add(shard, twins.list(shard, 4));
        return storeFoldOf.call(StoreFold, host, {
          ...state,
          placement: { ...state.placement, twins: kept },
        });
      }),
  ],
  ["end a sole store without raising gen", () => patch(BaseWriter.prototype, "markToRaise", async () => {})],
  [
    "believe that a store is still a sole one",
    () =>
      patch(
        SharedTimeline.prototype,
        "whenReached",
        function (this: SharedTimeline, shard: number, shardRevision: number, done: Sealed) {
          this.wrote(shard, shardRevision);
          done(undefined);
        },
      ),
  ],
  [
    "end a sole store at what is known, not at its last revision",
    () =>
      patch(Fold.prototype, "reach", function (this: Fold, shardRevision: number) {
        // Only `endSole` reaches the revision before the base.
        if (new Error().stack?.includes("endSole")) return;
        reach.call(this, shardRevision);
      }),
    472,
  ],
  [
    "give the first base of a sole store a revision",
    () =>
      patch(Fold.prototype, "beginSole", function (this: Fold, hostRevision: number) {
        this.reach(hostRevision);
      }),
  ],
  [
    "give no revision to the first base of a sole store with data",
    () =>
      patch(Fold.prototype, "beginSole", function (this: Fold, hostRevision: number) {
        this.reach(hostRevision - 1);
        this.snapshot().cut[0] = hostRevision;
      }),
  ],
  [
    "keep an own compaction at the end of a sole store",
    () =>
      patch(Fold.prototype, "endSole", function (this: Fold, hostRevision: number, compactRevision: number) {
        endSole.call(this, hostRevision, Math.max(compactRevision, this.compactRevision));
      }),
    1250,
  ],
];
const { reach, endSole } = Fold.prototype;
const original = Fold.prototype.apply;
const { begin } = Fold.prototype;
const { propose } = Changes.prototype;
const { of: storeFoldOf } = StoreFold;
const { append } = TimelineLog.prototype;
const { leaveFor } = FoldedLog.prototype;
const { follows } = Follower.prototype as unknown as { follows(commit: Committed): boolean };

/** What mutations reach into. */
interface Inner {
  readonly folded: FoldedLog;
}

for (const [name, mutation, from = 1] of MUTATIONS) {
  test(`is caught: ${name}`, async () => {
    const restore = typeof mutation === "function" ? mutation() : () => {};
    try {
      for (let seed = from; seed < from + SEEDS; seed++) {
        const failed = await simulate(seed, typeof mutation === "function" ? {} : mutation).then(
          () => false,
          () => true,
        );
        if (failed) {
          if (process.env.BRAID_SIM_VERBOSE) console.log(`seed ${seed}: ${name}`);
          return;
        }
      }
    } finally {
      restore();
    }
    throw new Error(`${SEEDS} seeds did not notice`);
  });
}

// biome-ignore lint/suspicious/noExplicitAny: a mutation replaces any method by any other
function patch(target: any, method: string, replacement: (...args: any[]) => unknown): () => void {
  const kept = target[method];
  target[method] = replacement;
  return () => {
    target[method] = kept;
  };
}
