import { Code } from "../../src/status/error.js";
import { type Call, type History, show } from "./history.js";
import { floors } from "./owners.js";

const COMPACTED = "etcdserver: mvcc: required revision has been compacted";
const LEASE_NOT_FOUND = "etcdserver: requested lease not found";

/**
 * Errors that the client can do something with, and no others: while processes die a call may fail with Unavailable, or
 * run into the deadline of the proxy. A lease may be gone, and what was compacted is refused: from the compaction's answer on
 * always, and nothing else ever.
 */
export function checkOutcomes(history: History): string[] {
  const faults: string[] = [];
  const told = floors(history.calls);
  const compactions = history.calls.filter(({ op }) => op.kind === "compact");
  const asked = (call: Call, revision: number, answered: boolean) =>
    compactions.some(
      ({ op, invoked, returned, outcome }) =>
        op.kind === "compact" &&
        revision < op.revision &&
        (answered ? outcome.kind === "answered" && returned < call.invoked : invoked < call.returned),
    );
  for (const call of history.calls) {
    const { op, outcome } = call;
    if (outcome.kind === "answered") {
      const old = op.kind === "range" ? op.revision : 0;
      if (old > 0 && asked(call, old, true)) faults.push(`read what was compacted: ${show(call)}`);
      continue;
    }
    if (!isExpected(call)) faults.push(`not an error to expect: ${show(call)}`);
    if (outcome.message !== COMPACTED) continue;
    if (op.kind === "range" && op.revision > 0 && !asked(call, op.revision, false)) {
      faults.push(`refused, but not compacted: ${show(call)}`);
    }
    if (op.kind === "range" && op.revision === 0)
      faults.push(`the newest state was compacted: ${show(call)}`);
  }
  for (const call of compactions) {
    const { op, outcome } = call;
    if (op.kind !== "compact" || outcome.kind !== "refused" || outcome.message === COMPACTED) continue;
    const known = (told.get(call.id) ?? 0) >= op.revision;
    if (known && outcome.code === Code.OUT_OF_RANGE) faults.push(`refused a known revision: ${show(call)}`);
  }
  return faults;
}

function isExpected({ op, outcome }: Call): boolean {
  if (outcome.kind === "answered") return true;
  const { code, message } = outcome;
  // The client's own deadline is far beyond the proxy's: there the call has hung.
  if (code === Code.DEADLINE_EXCEEDED) return !message.startsWith("Deadline exceeded");
  if (code === Code.UNAVAILABLE) return true;
  if (message === LEASE_NOT_FOUND) return true;
  if (message === COMPACTED) return op.kind === "range" || op.kind === "compact";
  return op.kind === "txn" && /transaction would write across shards/.test(message);
}
