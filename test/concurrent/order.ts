import { type Call, contains, type History, type Op, show } from "./history.js";
import { hasWritten } from "./model.js";
import { floors } from "./owners.js";
import type { Truth } from "./truth.js";

/**
 * Real time against the order of revisions. Whatever was answered with revision r before another call began:
 * - a write that began then has a revision above r, answered or not;
 * - a read of several shards that began then has at least r in its header;
 * - a read of one shard that began then shows at least what r has of that shard.
 *
 * Together with answers that equal the state at their revision this is strict serializability, and linearizability
 * for each key.
 */
export function checkOrder(truth: Truth, history: History, owners: ReadonlyMap<number, Call>): string[] {
  const faults: string[] = [];
  const told = floors(history.calls);
  for (const [revision, call] of owners) {
    const floor = told.get(call.id) ?? 0;
    if (revision <= floor)
      faults.push(`revision ${floor} was known, then ${revision} written: ${show(call)}`);
  }
  for (const call of history.calls) {
    const { op, outcome } = call;
    if (outcome.kind !== "answered" || hasWritten(outcome.answer) || !truth.has(outcome.revision)) continue;
    const floor = Math.min(told.get(call.id) ?? 0, truth.head);
    const shards = shardsOf(op, truth);
    if (shards === undefined || shards.length === 0) continue;
    const stale =
      shards.length === 1
        ? truth.newest(shards[0], outcome.revision) < truth.newest(shards[0], floor)
        : outcome.revision < floor;
    if (stale) faults.push(`revision ${floor} was known, then older read: ${show(call)}`);
  }
  return faults;
}

/** Shards whose newest state an operation asks for; undefined for one that may see an older one. */
function shardsOf(op: Op, truth: Truth): readonly number[] | undefined {
  if (op.kind === "compact") return everyShard(truth);
  if (op.kind === "txn") {
    const steps = [...op.success, ...op.failure].map((step) => shardsOf(step, truth) ?? []);
    const compared = op.compares.map(({ key }) => truth.shardOf(key));
    return [...new Set([...steps.flat(), ...compared])];
  }
  if (op.kind === "put") return [truth.shardOf(op.key)];
  if (op.kind === "delete") return shardsOfRange(op, truth);
  if (op.kind === "range") return op.serializable ? undefined : shardsOfRange(op, truth);
  return undefined;
}

/** Shards of those keys of the workload that are in the range: never more than the range is read on. */
function shardsOfRange(range: { key: string; end: string }, truth: Truth): readonly number[] {
  const keys = truth.keys.filter((key) => contains(range, key));
  return [...new Set(keys.map((key) => truth.shardOf(key)))];
}

const everyShard = (truth: Truth): readonly number[] => Array.from({ length: truth.shardCount }, (_, i) => i);
