import { type Call, type History, type Op, show } from "./history.js";
import { hasWritten } from "./model.js";
import { floors } from "./owners.js";
import type { Truth } from "./truth.js";

/**
 * Real time against the order of revisions. Whatever was answered with revision r before another call began:
 * - a write that began then has a revision above r, answered or not;
 * - any other answer to a call that began then, which asks for no older state, has at least r in its header.
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
    if (outcome.kind !== "answered" || hasWritten(outcome.answer) || mayBeOlder(op)) continue;
    const floor = Math.min(told.get(call.id) ?? 0, truth.head);
    if (outcome.revision < floor)
      faults.push(`revision ${floor} was known, then older header: ${show(call)}`);
  }
  return faults;
}

/** As of an etcd: a serializable read, and a keep-alive, are answered with what one member knows. */
export const mayBeOlder = (op: Op): boolean =>
  op.kind === "keepAlive" || (op.kind === "range" && op.serializable);
