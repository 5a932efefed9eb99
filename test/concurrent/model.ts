import { type Answer, type Change, type Compare, contains, type Kv, type Step, type Txn } from "./history.js";

/** The whole store at one revision: key → what is there. */
export type State = ReadonlyMap<string, Kv>;

export interface Effect {
  readonly answer: Answer;
  /** In order; empty when nothing is written. */
  readonly changes: readonly Change[];
}

/**
 * What etcd answers to an operation on `state`, and what it changes when it is given `revision`. Reads see `state`,
 * whatever revision they ask for.
 */
export function execute(state: State, op: Step | Txn, revision: number): Effect {
  if (op.kind !== "txn") return step(state, op, revision);
  const succeeded = op.compares.every((compare) => holds(state, compare));
  const working = new Map(state);
  const changes: Change[] = [];
  const answers = (succeeded ? op.success : op.failure).map((inner) => {
    const effect = step(working, inner, revision);
    for (const change of effect.changes) applyChange(working, change);
    changes.push(...effect.changes);
    return effect.answer;
  });
  return { answer: { kind: "txn", succeeded, answers }, changes };
}

/** Makes one change in a state. */
export function applyChange(state: Map<string, Kv>, { type, kv }: Change): void {
  if (type === "put") state.set(kv.key, kv);
  else state.delete(kv.key);
}

/** Whether an answered operation has written. */
export function hasWritten(answer: Answer): boolean {
  if (answer.kind === "txn") return answer.answers.some(hasWritten);
  return answer.kind === "put" || (answer.kind === "delete" && answer.deleted > 0);
}

/** The event of a deletion. */
export function deletion(prev: Kv, revision: number): Change {
  const kv = { key: prev.key, value: "", create: 0, mod: revision, version: 0, lease: "0" };
  return { type: "delete", kv, prev };
}

/** Keys of a range in order. */
export function select(state: State, range: { readonly key: string; readonly end: string }): Kv[] {
  const found = [...state.values()].filter(({ key }) => contains(range, key));
  return found.sort((a, b) => (a.key < b.key ? -1 : 1));
}

function step(state: State, op: Step, revision: number): Effect {
  if (op.kind === "range") {
    const all = select(state, op);
    const kvs = op.limit > 0 ? all.slice(0, op.limit) : all;
    const answer: Answer = { kind: "range", kvs, count: all.length, more: kvs.length < all.length };
    return { answer, changes: [] };
  }
  if (op.kind === "delete") {
    const prev = select(state, op);
    return {
      answer: { kind: "delete", deleted: prev.length, prev },
      changes: prev.map((kv) => deletion(kv, revision)),
    };
  }
  const prev = state.get(op.key) ?? null;
  const kv: Kv = {
    key: op.key,
    value: op.value,
    create: prev?.create ?? revision,
    mod: revision,
    version: (prev?.version ?? 0) + 1,
    lease: op.lease,
  };
  return { answer: { kind: "put", prev }, changes: [{ type: "put", kv, prev }] };
}

function holds(state: State, { key, target, result, operand }: Compare): boolean {
  const kv = state.get(key);
  // A key that is not there has zeros, but no value: that compare always fails.
  if (kv === undefined && target === "value") return false;
  const actual = kv === undefined ? 0 : kv[target];
  if (result === "EQUAL") return actual === operand;
  if (result === "NOT_EQUAL") return actual !== operand;
  return result === "GREATER" ? actual > operand : actual < operand;
}
