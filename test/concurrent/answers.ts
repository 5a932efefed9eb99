import { isDeepStrictEqual } from "node:util";
import { type Call, type History, type Op, show } from "./history.js";
import { execute, hasWritten } from "./model.js";
import type { Truth } from "./truth.js";

/**
 * Every answer against the truth: a write must have made exactly the changes of the revision in its header, and been
 * answered as the state before it demands (compares included); a read must show the state at the revision in its
 * header, or the older one that it asked for.
 */
export function checkAnswers(truth: Truth, history: History): string[] {
  return history.calls.flatMap((call) => checkCall(truth, call).map((fault) => `${fault}: ${show(call)}`));
}

function checkCall(truth: Truth, { op, outcome }: Call): string[] {
  if (outcome.kind !== "answered") return [];
  const { revision, answer } = outcome;
  if (!truth.has(revision)) return [`header revision ${revision}, but the store ends at ${truth.head}`];
  if (!isExecutable(op)) return [];
  if (hasWritten(answer)) {
    const effect = execute(truth.state(revision - 1), op, revision);
    if (!isDeepStrictEqual(effect.changes, truth.changes(revision))) {
      return [`revision ${revision} has made ${JSON.stringify(truth.changes(revision))}, not this write`];
    }
    return compare(effect.answer, answer, `before revision ${revision}`);
  }
  const at = op.kind === "range" && op.revision > 0 ? op.revision : revision;
  if (at > revision) return [`header revision ${revision} is older than what was read`];
  const effect = execute(truth.state(at), op, revision);
  if (effect.changes.length > 0) return [`it should have written on the state at ${at}`];
  return compare(effect.answer, answer, `at revision ${at}`);
}

/** Operations whose answer follows from the state. */
export function isExecutable(op: Op): op is Extract<Op, { kind: "put" | "range" | "delete" | "txn" }> {
  return op.kind === "put" || op.kind === "range" || op.kind === "delete" || op.kind === "txn";
}

function compare(expected: unknown, answer: unknown, when: string): string[] {
  if (isDeepStrictEqual(expected, answer)) return [];
  return [`the state ${when} demands ${JSON.stringify(expected)}`];
}
