import type { KeyRange, Locator } from "../reshard/locator.js";
import type { Move, PlacementState } from "../reshard/placement.js";
import type { Timeline } from "../timeline/view.js";
import { KEY_ALONE, TO_LAST_KEY } from "../wire/keyRange.js";
import { AFTER_ALL_KEYS, type TextRange } from "./keys.js";

/** The shards that a range of keys needs, from a revision on. Remembers the last result of `Moves.shardsOf`. */
export class Reach {
  version = -1;
  /** The result is valid for revisions from `from` to `until`. */
  from = 0;
  until = 0;
  shards: readonly number[] = [];

  constructor(readonly range: TextRange) {}
}

/** All keys that clients can see. */
const EVERYTHING: TextRange = { begin: "\x01", end: AFTER_ALL_KEYS };

/**
 * Decides which events count while keys move between shards. It keeps the moves that its readers have not passed yet, even
 * when a compaction has made the timeline forget them.
 */
export class Moves {
  /**
   * Every event at or below this revision must be judged; those above it all count. 0 in a store that has never had a plan,
   * and infinity while a plan is active.
   */
  judgedUntil = 0;
  /** False in a store that has never had a plan. */
  hasPlans = false;
  /** Rises with each change of the placement. */
  version = 0;
  private locator: Locator;
  /** In order of revision. */
  private kept: readonly Move[] = [];
  private inForce: string | undefined;
  private plan: PlacementState["plan"];
  private newest: Move | undefined;
  private readonly everything = new Reach(EVERYTHING);

  constructor(private readonly timeline: Pick<Timeline, "head" | "placement" | "locator">) {
    this.locator = timeline.locator;
    this.refresh(timeline.head + 1);
    if (!this.hasPlans) this.judgedUntil = 0;
  }

  /**
   * To be called after each advance of the timeline. No reader needs moves below `oldest`. Returns true when the placement has
   * changed.
   */
  refresh(oldest: number): boolean {
    const { timeline } = this;
    const { plan, plans, inForce, moves } = timeline.placement;
    const newest = moves.at(-1);
    if (plan === this.plan && inForce === this.inForce && newest === this.newest) return false;
    this.plan = plan;
    this.hasPlans = plans > 0;
    this.inForce = inForce;
    this.newest = newest;
    const known = moves.at(0)?.revision ?? Number.POSITIVE_INFINITY;
    this.kept = [...this.kept.filter(({ revision }) => revision >= oldest && revision < known), ...moves];
    this.locator = timeline.locator.withMoves(this.kept);
    // The last deletions of a plan's mover come before the plan's end.
    this.judgedUntil = plan === undefined ? timeline.head : Number.POSITIVE_INFINITY;
    this.version++;
    return true;
  }

  /** True while events of `key` at `revision` are not decided, because its step is frozen. */
  isUndecided(key: Uint8Array, revision: number): boolean {
    const frozen = this.plan?.frozen;
    return frozen !== undefined && revision > frozen.revision && this.locator.isInFrozenStep(key);
  }

  /** See `Locator.countsAt`. For keys that are decided at `revision`. */
  countsAt(key: Uint8Array, shard: number, shardRevision: number, revision: number): number | undefined {
    return this.locator.countsAt(key, shard, shardRevision, revision);
  }

  /** The move that takes `revision`. */
  at(revision: number): Move | undefined {
    return this.kept.find((move) => move.revision === revision);
  }

  /** See `Locator.endsAt`. */
  endsAt(revision: number): ReturnType<Locator["endsAt"]> {
    return this.locator.endsAt(revision);
  }

  /** See `Locator.feedFrom`. */
  feedFrom(revision: number): number {
    return this.locator.feedFrom(revision);
  }

  /** See `Locator.wholeFrom`. */
  wholeFrom(revision: number): number {
    return this.locator.wholeFrom(revision);
  }

  /** True while a step is frozen. */
  get isFrozen(): boolean {
    return this.plan?.frozen !== undefined;
  }

  /** The shards whose events may count for a range at `revision` or later, ascending. */
  shardsOf(reach: Reach, revision: number): readonly number[] {
    if (reach.version !== this.version || revision < reach.from || revision > reach.until) {
      reach.version = this.version;
      reach.from = 0;
      reach.until = Number.POSITIVE_INFINITY;
      for (const move of this.kept) {
        if (move.revision < revision) reach.from = move.revision + 1;
        else reach.until = Math.min(reach.until, move.revision);
      }
      reach.shards = this.locator.shardsFrom(bytesOf(reach.range), revision);
    }
    return reach.shards;
  }

  /** The shards whose events may count for any range at `revision` or later, ascending. */
  shardsInUse(revision: number): readonly number[] {
    return this.shardsOf(this.everything, revision);
  }
}

function bytesOf({ begin, end }: TextRange): KeyRange {
  const key = Buffer.from(begin, "latin1");
  if (end === AFTER_ALL_KEYS) return { key, end: TO_LAST_KEY };
  return { key, end: end === `${begin}\0` ? KEY_ALONE : Buffer.from(end, "latin1") };
}

/** Resolves when no step is frozen. The moves must be refreshed at each advance. */
export function whenThawed(timeline: Pick<Timeline, "onAdvance">, moves: Moves): Promise<void> {
  return new Promise((resolve) => {
    if (!moves.isFrozen) {
      resolve();
      return;
    }
    const stop = timeline.onAdvance(() => {
      if (moves.isFrozen) return;
      stop();
      resolve();
    });
  });
}
