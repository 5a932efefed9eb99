import { isDeepStrictEqual } from "node:util";
import type { Change, History, KeyMove, Kv, NativeChange, NativeKv, WatchSession } from "./history.js";
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
    private readonly places: Places,
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
    const places = new Places(history);
    const gapsFrom = history.plans?.from ?? Number.POSITIVE_INFINITY;
    const changesOf: (readonly Change[])[] = [[], []];
    const states: State[] = [new Map(), new Map()];
    const seen = [0, 0];
    for (let revision = 2; revision <= history.head; revision++) {
      const found = byRevision.get(revision);
      if (found === undefined && revision <= gapsFrom) faults.push(`revision ${revision} has no event`);
      const changes = found?.changes ?? [];
      const state = new Map(states[revision - 1]);
      const on = new Set<number>();
      for (const change of changes) {
        const expected = follow(state, change, revision);
        if (change.type === "delete" && expected.prev === null)
          faults.push(`${tell(change)} had nothing to delete`);
        if (!isDeepStrictEqual(expected, change)) faults.push(`${tell(change)} should be ${tell(expected)}`);
        applyChange(state, expected);
        on.add(places.at(change.kv.key, revision - 1));
      }
      // Keys of several shards may end with a move.
      if (on.size > 1 && places.moveAt(revision) === undefined)
        faults.push(`revision ${revision} has changed shards ${[...on]}`);
      changesOf.push(changes);
      states.push(state);
      seen.push(found?.at ?? 0);
    }
    for (const revision of byRevision.keys()) {
      if (revision < 2 || revision > history.head) faults.push(`an event has revision ${revision}`);
    }
    return new Truth(changesOf, states, places, seen);
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

  /** The shard that held a key at a revision. */
  shardOf(key: string, revision: number): number {
    return this.places.at(key, revision);
  }

  /** The move that took a revision. */
  moveAt(revision: number): KeyMove | undefined {
    return this.places.moveAt(revision);
  }

  /** True if the key was about to move at a revision: its step was frozen, and was moved afterwards. */
  isMoving(key: string, revision: number): boolean {
    return this.places.isMoving(key, revision);
  }
}

/** Which shard held a key at a revision. */
class Places {
  private readonly moves: readonly KeyMove[];
  private readonly byRevision: ReadonlyMap<number, KeyMove>;

  constructor(private readonly history: History) {
    this.moves = history.plans?.moves ?? [];
    this.byRevision = new Map(this.moves.map((move) => [move.revision, move]));
  }

  at(key: string, revision: number): number {
    const last = this.moves.findLast((move) => move.revision <= revision && move.keys[key] !== undefined);
    return last?.keys[key] ?? this.history.shards[key];
  }

  moveAt(revision: number): KeyMove | undefined {
    return this.byRevision.get(revision);
  }

  isMoving(key: string, revision: number): boolean {
    return this.moves.some(
      (move) => move.frozenAt < revision && revision < move.revision && move.keys[key] !== undefined,
    );
  }
}

/** Compares the truth with what the shards' own etcds tell, as far back as these still know. */
export function checkNative(truth: Truth, history: History): string[] {
  return history.native.flatMap((native, shard) => {
    const ours: NativeChange[][] = [];
    for (let revision = 2; revision <= truth.head; revision++) {
      const changes = truth.changes(revision).filter(({ kv }) => truth.shardOf(kv.key, revision) === shard);
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

/** After the last plan, each shard holds exactly its keys, as they are in the store. */
export function checkState(truth: Truth, { plans, head }: History): string[] {
  if (plans === undefined) return [];
  const state = [...truth.state(head).values()];
  return plans.state.flatMap((held, shard) => {
    const due = state.filter(({ key }) => truth.shardOf(key, head) === shard).map(stateOf);
    const [ours, theirs] = [due, [...held]].map((kvs) => kvs.sort((a, b) => (a.key < b.key ? -1 : 1)));
    if (isDeepStrictEqual(theirs, ours)) return [];
    return [`shard ${shard} holds ${JSON.stringify(theirs)}, due is ${JSON.stringify(ours)}`];
  });
}

const stateOf = ({ key, value, lease }: Kv): NativeKv => ({ key, value, lease });

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
