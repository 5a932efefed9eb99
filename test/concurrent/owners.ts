import { isDeepStrictEqual } from "node:util";
import { isExecutable } from "./answers.js";
import { type Call, type Change, type History, type Kv, show } from "./history.js";
import { execute, hasWritten } from "./model.js";
import type { Truth } from "./truth.js";

export interface Owners {
  /** Which call made a revision, also for calls that nobody answered. Revisions that a lease's end made are missing. */
  readonly of: ReadonlyMap<number, Call>;
  readonly faults: readonly string[];
}

/**
 * Finds what made each revision: an answered write, a write of unknown outcome (each at most once, and not before it
 * was sent), or the end of a lease. A revision that nothing explains is a fault, as are two writes answered with the
 * same one; so a write that was refused, or one that took effect twice, cannot hide.
 */
export function findOwners(truth: Truth, history: History): Owners {
  const of = new Map<number, Call>();
  const faults: string[] = [];
  for (const call of history.calls) {
    const { outcome } = call;
    if (outcome.kind !== "answered" || !hasWritten(outcome.answer)) continue;
    const other = of.get(outcome.revision);
    if (other === undefined) of.set(outcome.revision, call);
    else faults.push(`two writes with one revision: ${show(other)} and ${show(call)}`);
  }
  const leases = new Set(history.calls.flatMap(({ op }) => (op.kind === "grant" ? [op.id] : [])));
  const unknown = history.calls.filter(({ outcome }) => outcome.kind === "unknown");
  const known = floors(history.calls);
  const candidates = new Map<number, Call[]>();
  for (let revision = 2; revision <= truth.head; revision++) {
    const changes = truth.changes(revision);
    if (of.has(revision) || changes.length === 0) continue;
    if (isLeaseEnd(revision, truth, leases)) continue;
    const before = truth.state(revision - 1);
    const possible = unknown.filter(
      ({ id, op }) =>
        (known.get(id) ?? 0) < revision &&
        isExecutable(op) &&
        isDeepStrictEqual(execute(before, op, revision).changes, changes),
    );
    candidates.set(revision, possible);
  }
  for (const [revision, call] of match(candidates)) of.set(revision, call);
  for (const revision of candidates.keys()) {
    if (!of.has(revision)) {
      faults.push(`nobody's write: revision ${revision}, ${JSON.stringify(truth.changes(revision))}`);
    }
  }
  return { of, faults };
}

/** Call → the newest revision that somebody had been told when it was sent; what it writes is newer. */
export function floors(calls: readonly Call[]): ReadonlyMap<number, number> {
  const returns = calls.filter(({ outcome }) => outcome.kind === "answered");
  returns.sort((a, b) => a.returned - b.returned);
  const result = new Map<number, number>();
  let next = 0;
  let newest = 0;
  for (const call of [...calls].sort((a, b) => a.invoked - b.invoked)) {
    while (next < returns.length && returns[next].returned < call.invoked) {
      const { outcome } = returns[next++];
      if (outcome.kind === "answered") newest = Math.max(newest, outcome.revision);
    }
    result.set(call.id, newest);
  }
  return result;
}

/** All keys of one lease on one shard, and nothing else, are gone. */
function isLeaseEnd(revision: number, truth: Truth, leases: ReadonlySet<string>): boolean {
  const changes = truth.changes(revision);
  const before = truth.state(revision - 1);
  const isEnd = ({ type, prev }: Change) => type === "delete" && prev !== null && leases.has(prev.lease);
  if (!changes.every(isEnd)) return false;
  const move = truth.moveAt(revision);
  // Ends of leases while a step is frozen count when its keys move.
  if (move !== undefined) return changes.every(({ kv }) => move.keys[kv.key] !== undefined);
  const { key, lease } = changes[0].prev!;
  const shard = truth.shardOf(key, revision);
  const held = [...before.values()].filter(
    (kv) => kv.lease === lease && truth.shardOf(kv.key, revision) === shard,
  );
  const staying = held.filter((kv) => !truth.isMoving(kv.key, revision));
  const ended = new Set(changes.map(({ kv }) => kv.key));
  const areAll = (kvs: readonly Kv[]) => kvs.length === ended.size && kvs.every((kv) => ended.has(kv.key));
  return areAll(held) || areAll(staying);
}

/** Gives as many revisions as possible a call of their own (a maximum bipartite matching). */
function match(candidates: ReadonlyMap<number, readonly Call[]>): ReadonlyMap<number, Call> {
  const revisionOf = new Map<Call, number>();
  const assign = (revision: number, tried: Set<Call>): boolean => {
    for (const call of candidates.get(revision) ?? []) {
      if (tried.has(call)) continue;
      tried.add(call);
      const rival = revisionOf.get(call);
      if (rival !== undefined && !assign(rival, tried)) continue;
      revisionOf.set(call, revision);
      return true;
    }
    return false;
  };
  for (const revision of candidates.keys()) assign(revision, new Set());
  return new Map([...revisionOf].map(([call, revision]) => [revision, call]));
}
