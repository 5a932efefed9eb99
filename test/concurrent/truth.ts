import { isDeepStrictEqual } from "node:util";
import type { Change, History, Kv, NativeChange, WatchSession } from "./history.js";
import { applyChange, deletion, type State } from "./model.js";

/**
 * The one history that all observations are compared with: which keys every revision has changed, and so the state
 * at every revision. It comes from the events of one watcher of the whole store with prev_kv.
 */
export class Truth {
  readonly head: number;

  private constructor(
    /** By revision; revision 1 is the empty store. */
    private readonly changesOf: readonly (readonly Change[])[],
    private readonly states: readonly State[],
    private readonly shards: Readonly<Record<string, number>>,
    /** Shard → by revision: the newest revision at or below it that changed the shard. */
    private readonly newestOn: readonly (readonly number[])[],
    /** By revision: when the watcher was told of it. */
    private readonly seen: readonly number[],
  ) {
    this.head = states.length - 1;
  }

  /**
   * Puts the truth together from all sessions of `watcher`. Each revision from 2 to the head must be there, and its
   * keys' revisions and versions must follow from what is before; what is wrong goes to `faults`.
   */
  static of(history: History, watcher: string, faults: string[]): Truth {
    const byRevision = new Map<number, { changes: readonly Change[]; at: number }>();
    for (const session of history.sessions) {
      if (session.watcher === watcher) collect(session, byRevision);
    }
    const shardCount = history.native.length;
    const changesOf: (readonly Change[])[] = [[], []];
    const states: State[] = [new Map(), new Map()];
    const newestOn: number[][] = Array.from({ length: shardCount }, () => [0, 0]);
    const seen = [0, 0];
    for (let revision = 2; revision <= history.head; revision++) {
      const found = byRevision.get(revision);
      if (found === undefined) faults.push(`revision ${revision} has no event`);
      const changes = found?.changes ?? [];
      const state = new Map(states[revision - 1]);
      const on = new Set<number>();
      for (const change of changes) {
        const expected = follow(state, change, revision);
        if (change.type === "delete" && expected.prev === null)
          faults.push(`${tell(change)} had nothing to delete`);
        if (!isDeepStrictEqual(expected, change)) faults.push(`${tell(change)} should be ${tell(expected)}`);
        applyChange(state, expected);
        on.add(history.shards[change.kv.key]);
      }
      if (on.size > 1) faults.push(`revision ${revision} has changed shards ${[...on]}`);
      changesOf.push(changes);
      states.push(state);
      seen.push(found?.at ?? 0);
      newestOn.forEach((list, shard) => {
        list.push(on.has(shard) ? revision : list[revision - 1]);
      });
    }
    for (const revision of byRevision.keys()) {
      if (revision < 2 || revision > history.head) faults.push(`an event has revision ${revision}`);
    }
    return new Truth(changesOf, states, history.shards, newestOn, seen);
  }

  /** What a revision has changed. */
  changes(revision: number): readonly Change[] {
    return this.changesOf[revision];
  }

  /** The store at a revision. */
  state(revision: number): State {
    return this.states[revision];
  }

  has(revision: number): boolean {
    return Number.isInteger(revision) && revision >= 1 && revision <= this.head;
  }

  /** When the truth's watcher was told of a revision. */
  seenAt(revision: number): number {
    return this.seen[revision];
  }

  shardOf(key: string): number {
    return this.shards[key];
  }

  /** Newest revision at or below `revision` that changed a shard, 0 for none: the part of a state that a shard decides. */
  newest(shard: number, revision: number): number {
    return this.newestOn[shard][revision];
  }

  /** All keys that the run has used. */
  get keys(): readonly string[] {
    return Object.keys(this.shards);
  }

  get shardCount(): number {
    return this.newestOn.length;
  }
}

/** Compares the truth with what the shards' own etcds tell, as far back as these still know. */
export function checkNative(truth: Truth, history: History): string[] {
  return history.native.flatMap((native, shard) => {
    const ours: NativeChange[][] = [];
    for (let revision = 2; revision <= truth.head; revision++) {
      const changes = truth.changes(revision).filter(({ kv }) => truth.shardOf(kv.key) === shard);
      if (changes.length > 0) ours.push(changes.map(nativeOf));
    }
    const known = ours.slice(ours.length - native.length);
    if (native.length > ours.length) {
      return [`shard ${shard} has made ${native.length} changes, the timeline has ${ours.length} of them`];
    }
    const wrong = native.findIndex((changes, i) => !isDeepStrictEqual(changes, known[i]));
    if (wrong === -1) return [];
    const [theirs, mine] = [native[wrong], known[wrong]].map((changes) => JSON.stringify(changes));
    return [`shard ${shard}: its ${native.length - wrong}. change from the end is ${theirs}, not ${mine}`];
  });
}

function nativeOf({ type, kv }: Change): NativeChange {
  return { type, key: kv.key, value: kv.value, lease: kv.lease };
}

function collect(session: WatchSession, into: Map<number, { changes: readonly Change[]; at: number }>): void {
  for (const { events, at } of session.frames) {
    for (const revision of new Set(events.map(({ kv }) => kv.mod))) {
      if (into.has(revision)) continue;
      into.set(revision, { changes: events.filter(({ kv }) => kv.mod === revision), at });
    }
  }
}

/** The event that there must be, if this key changed in this way. */
function follow(state: State, { type, kv }: Change, revision: number): Change {
  const prev = state.get(kv.key) ?? null;
  if (type === "delete") {
    const absent: Kv = { key: kv.key, value: "", create: 0, mod: 0, version: 0, lease: "0" };
    return { ...deletion(prev ?? absent, revision), prev };
  }
  const { key, value, lease } = kv;
  const [create, version] = prev === null ? [revision, 1] : [prev.create, prev.version + 1];
  return { type, kv: { key, value, create, mod: revision, version, lease }, prev };
}

const tell = (change: Change): string => `event ${JSON.stringify(change)}`;
