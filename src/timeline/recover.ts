import { type Base, decodeBase } from "./base.js";
import { decodeEntry } from "./entry.js";
import type { Applied } from "./fold.js";
import type { HostKey } from "./host.js";
import { BASE_KEY, epochOf, isEntryKey, isPartKey } from "./keys.js";
import { isRaisedMark } from "./mark.js";
import { StoreFold } from "./storeFold.js";

const BASE = BASE_KEY.toString("latin1");

/** Epoch of the first base of a store. */
export const FIRST_EPOCH = 1;

/** The timeline, recovered from all its keys on the host at one revision. */
export interface Recovered {
  readonly base: Base;
  /** Mod revision of the base key. */
  readonly baseRevision: number;
  readonly fold: StoreFold;
  /** The entries above the base, in order, and what they changed. */
  readonly entries: readonly {
    readonly key: string;
    readonly hostRevision: number;
    readonly applied: Applied;
  }[];
  /** Number of entries of the current epoch. */
  readonly entriesInEpoch: number;
  /** Part keys → create revision. */
  readonly parts: Map<string, number>;
}

/** Finds the base among the keys of the timeline. */
export const findBase = (keys: readonly HostKey[]): HostKey | undefined =>
  keys.find(({ key }) => key === BASE);

/**
 * Folds the base `stored` and the entries above it, from `keys`, which the host had at `revision`. Throws what `decodeBase` throws, and a SyntaxError for an entry that
 * no proxy wrote.
 */
export function recover(
  stored: HostKey,
  keys: readonly HostKey[],
  hostShard: number,
  revision: number,
): Recovered {
  const byName = new Map(keys.map((key) => [key.key, key]));
  const { base, state } = decodeBase(stored.value, (key) => byName.get(key)?.value);
  const fold = StoreFold.of(hostShard, state);
  if (base.endsSole) fold.endSole(stored.modRevision, fold.compactRevision);
  else if (fold.isSole && base.epoch === FIRST_EPOCH) fold.beginSole(stored.modRevision);
  if (fold.isSole) fold.reach(revision);
  const entries: { key: string; hostRevision: number; applied: Applied }[] = [];
  let entriesInEpoch = 0;
  for (const [hostRevision, entry] of changesAbove(keys, base.covers)) {
    if (entry === undefined) {
      fold.hide(hostRevision);
      continue;
    }
    const applied = fold.apply(decodeEntry(entry.value), hostRevision);
    entries.push({ key: entry.key, hostRevision, applied });
    if (epochOf(entry.key) === base.epoch) entriesInEpoch++;
  }
  const parts = new Map(
    keys.flatMap(({ key, createRevision }) => (isPartKey(key) ? [[key, createRevision]] : [])),
  );
  return { base, baseRevision: stored.modRevision, fold, entries, entriesInEpoch, parts };
}

/** Host revisions of the log above `covers`, ascending, each with its entry if it has one. */
function changesAbove(
  keys: readonly HostKey[],
  covers: number,
): [revision: number, entry: HostKey | undefined][] {
  const changes = new Map<number, HostKey | undefined>();
  for (const key of keys) {
    if (isRaisedMark(key.key, key.value)) continue;
    for (const revision of [key.createRevision, key.modRevision]) {
      if (revision > covers && !changes.has(revision)) changes.set(revision, undefined);
    }
    if (isEntryKey(key.key) && key.createRevision > covers) changes.set(key.createRevision, key);
  }
  return [...changes].sort(([a], [b]) => a - b);
}
