import { type Call, type History, show } from "./history.js";
import { mayBeOlder } from "./order.js";

/**
 * Every header names the same cluster. What one proxy says of the Raft term never falls, restarts included, except in answers
 * from what one worker knows.
 */
export function checkHeaders({ calls }: History): string[] {
  const faults: string[] = [];
  const [first] = calls.flatMap(({ outcome }) => (outcome.kind === "answered" ? [outcome.cluster] : []));
  for (const call of calls) {
    const { outcome } = call;
    if (outcome.kind !== "answered" || outcome.cluster === first) continue;
    faults.push(`cluster_id ${outcome.cluster} after ${first}: ${show(call)}`);
  }
  for (const proxy of new Set(calls.map((call) => call.proxy))) {
    faults.push(...fallingTerms(calls.filter((call) => call.proxy === proxy)));
  }
  return faults;
}

function fallingTerms(calls: readonly Call[]): string[] {
  const returns = [...calls].sort((a, b) => a.returned - b.returned);
  const faults: string[] = [];
  let next = 0;
  let newest = 0;
  for (const call of [...calls].sort((a, b) => a.invoked - b.invoked)) {
    for (; next < returns.length && returns[next].returned < call.invoked; next++) {
      const { outcome } = returns[next];
      if (outcome.kind === "answered") newest = Math.max(newest, outcome.term);
    }
    const { outcome } = call;
    if (outcome.kind !== "answered" || outcome.term >= newest || mayBeOlder(call.op)) continue;
    faults.push(`raft_term ${outcome.term} after ${newest}: ${show(call)}`);
  }
  return faults;
}
