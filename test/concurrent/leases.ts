import { type Call, type History, type LeaseOp, show } from "./history.js";
import type { Truth } from "./truth.js";

/**
 * No lease ends before its time: its keys stay until the TTL after the last grant or keep-alive that was answered
 * is over, unless somebody sent a revocation. From the revision of an answered revocation on no key has the lease, on
 * no shard. And none lives for ever: in the end no key has one.
 */
export function checkLeases(truth: Truth, history: History, owners: ReadonlyMap<number, Call>): string[] {
  const faults: string[] = [];
  const calls = new Map<string, Call[]>();
  for (const call of history.calls) {
    if (isLease(call.op)) calls.set(call.op.id, [...(calls.get(call.op.id) ?? []), call]);
  }
  for (let revision = 2; revision <= truth.head; revision++) {
    if (owners.has(revision)) continue;
    const seen = truth.seenAt(revision);
    for (const lease of new Set(truth.changes(revision).map(({ prev }) => prev?.lease ?? "0"))) {
      const before = (calls.get(lease) ?? []).filter(({ invoked }) => invoked < seen);
      if (before.some(({ op }) => op.kind === "revoke")) continue;
      const early = before.find((call) => livesUntil(call) > seen);
      if (early) faults.push(`lease ${lease} ended before its time at revision ${revision}: ${show(early)}`);
    }
  }
  const held = lastHeld(truth);
  for (const call of [...calls.values()].flat()) {
    const { op, outcome } = call;
    if (op.kind !== "revoke" || outcome.kind !== "answered") continue;
    const last = held.get(op.id) ?? 0;
    if (last >= outcome.revision) faults.push(`lease still has a key at revision ${last}: ${show(call)}`);
  }
  for (const { key, lease } of truth.state(truth.head).values()) {
    if (lease !== "0") faults.push(`${key} has outlived its lease ${lease}`);
  }
  return faults;
}

const isLease = (op: Call["op"]): op is LeaseOp =>
  op.kind === "grant" || op.kind === "keepAlive" || op.kind === "revoke";

/** Lease → the newest revision at which a key has it. */
function lastHeld(truth: Truth): ReadonlyMap<string, number> {
  const last = new Map<string, number>();
  for (let revision = 1; revision <= truth.head; revision++) {
    for (const { lease } of truth.state(revision).values()) last.set(lease, revision);
  }
  return last;
}

/** Until when a lease lives at least, by this call alone. */
function livesUntil({ op, invoked, outcome }: Call): number {
  if (op.kind === "revoke" || outcome.kind !== "answered" || outcome.answer.kind !== "lease") return 0;
  return invoked + outcome.answer.ttl * 1_000;
}
