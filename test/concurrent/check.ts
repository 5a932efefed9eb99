import { checkAnswers } from "./answers.js";
import { checkHeaders } from "./headers.js";
import type { History } from "./history.js";
import { checkLeases } from "./leases.js";
import { checkOrder } from "./order.js";
import { checkOutcomes } from "./outcomes.js";
import { findOwners } from "./owners.js";
import { checkNative, checkState, Truth } from "./truth.js";
import { checkWatches } from "./watches.js";

/** Name of the watcher of the whole store, with prev_kv and from revision 2 on, whose events are the truth. */
export const TRUTH = "truth";

/** Everything that is wrong with a history; empty when it is one that a single etcd could have had. */
export function check(history: History): string[] {
  const faults: string[] = [];
  const truth = Truth.of(history, TRUTH, faults);
  // Without a whole history the rest would only repeat its faults.
  if (faults.length > 0) return faults;
  const owners = findOwners(truth, history);
  return [
    ...checkNative(truth, history),
    ...checkState(truth, history),
    ...owners.faults,
    ...checkAnswers(truth, history),
    ...checkOrder(truth, history, owners.of),
    ...checkOutcomes(history),
    ...checkHeaders(history),
    ...checkLeases(truth, history, owners.of),
    ...checkWatches(truth, history),
  ];
}
