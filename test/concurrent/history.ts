/*
 * What a run is recorded as: plain data, so that it can be written to a file and checked again. Keys and values are
 * latin1 strings, lease ids decimal ones ("0" for none), revisions numbers, times milliseconds of one clock.
 */

export interface Kv {
  readonly key: string;
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
  readonly lease: string;
}

export interface Put {
  readonly kind: "put";
  readonly key: string;
  readonly value: string;
  readonly lease: string;
}

/** `end` as in etcd: empty for the one key. `revision` 0 for the newest, `limit` 0 for all. */
export interface Range {
  readonly kind: "range";
  readonly key: string;
  readonly end: string;
  readonly revision: number;
  readonly limit: number;
  readonly serializable: boolean;
}

export interface Delete {
  readonly kind: "delete";
  readonly key: string;
  readonly end: string;
}

export type Step = Put | Range | Delete;

export interface Compare {
  readonly key: string;
  readonly target: "create" | "mod" | "version" | "value";
  readonly result: "EQUAL" | "NOT_EQUAL" | "GREATER" | "LESS";
  readonly operand: number | string;
}

export interface Txn {
  readonly kind: "txn";
  readonly compares: readonly Compare[];
  readonly success: readonly Step[];
  readonly failure: readonly Step[];
}

export interface Compact {
  readonly kind: "compact";
  readonly revision: number;
}

/** `ttl` in seconds. The client chooses the id. */
export interface Grant {
  readonly kind: "grant";
  readonly id: string;
  readonly ttl: number;
}

export interface Revoke {
  readonly kind: "revoke";
  readonly id: string;
}

export interface KeepAlive {
  readonly kind: "keepAlive";
  readonly id: string;
}

export type LeaseOp = Grant | Revoke | KeepAlive;

export type Op = Step | Txn | Compact | LeaseOp;

export type Answer =
  | { readonly kind: "put"; readonly prev: Kv | null }
  | { readonly kind: "range"; readonly kvs: readonly Kv[]; readonly count: number; readonly more: boolean }
  | { readonly kind: "delete"; readonly deleted: number; readonly prev: readonly Kv[] }
  | { readonly kind: "txn"; readonly succeeded: boolean; readonly answers: readonly Answer[] }
  | { readonly kind: "compact" }
  | { readonly kind: "lease"; readonly ttl: number };

/** `refused`: it certainly had no effect. `unknown`: it may have had its effect, or may still have it later. */
export type Outcome =
  | {
      readonly kind: "answered";
      readonly revision: number;
      /** Of the header as well. */
      readonly cluster: string;
      readonly term: number;
      readonly answer: Answer;
    }
  | { readonly kind: "refused" | "unknown"; readonly code: number; readonly message: string };

/** One request of one client. */
export interface Call {
  readonly id: number;
  readonly client: string;
  /** Which proxy it was sent to. */
  readonly proxy: number;
  readonly op: Op;
  readonly invoked: number;
  /** When its outcome was known to the client. */
  readonly returned: number;
  readonly outcome: Outcome;
}

export interface Change {
  readonly type: "put" | "delete";
  /** Of a deletion only `key` and `mod` count. */
  readonly kv: Kv;
  readonly prev: Kv | null;
}

/** One response on a watch stream, as far as it concerns one watch. */
export interface Frame {
  readonly at: number;
  readonly revision: number;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly compactRevision: number;
  readonly reason: string;
  readonly events: readonly Change[];
}

/** One watch from its creation to its end. */
export interface WatchSession {
  /** Sessions with one name are the same watcher, which went on after an end. */
  readonly watcher: string;
  readonly proxy: number;
  readonly key: string;
  readonly end: string;
  /** With it every event tells what was before; without it none does. */
  readonly prevKv: boolean;
  /** The revision that it was asked to start at; 0 for now. */
  readonly from: number;
  readonly opened: number;
  readonly frames: readonly Frame[];
}

export interface History {
  readonly calls: readonly Call[];
  readonly sessions: readonly WatchSession[];
  /** Key → shard, by its place among the run's etcds. */
  readonly shards: Readonly<Record<string, number>>;
  /** Newest revision when all was over. */
  readonly head: number;
  /** What each shard's own etcd tells of its keys' changes after all is over, oldest first, one list per shard revision. */
  readonly native: readonly (readonly (readonly NativeChange[])[])[];
  /** Of a run in which keys moved between shards. Then `shards` is the beginning, and `native` has no changes. */
  readonly plans?: PlansHistory;
}

/** What plans have changed. */
export interface PlansHistory {
  /** Newest revision before the first plan. Only later ones may be without an event. */
  readonly from: number;
  /** In order of revision. */
  readonly moves: readonly KeyMove[];
  /** What each shard's own etcd holds when no plan is active any more. */
  readonly state: readonly (readonly NativeKv[])[];
}

/** A step of a plan. */
export interface KeyMove {
  /** From here on the keys are on their new shards. */
  readonly revision: number;
  /** The store's revision when the step was frozen. */
  readonly frozenAt: number;
  /** Key → its new shard. */
  readonly keys: Readonly<Record<string, number>>;
}

export interface NativeKv {
  readonly key: string;
  readonly value: string;
  readonly lease: string;
}

export interface NativeChange {
  readonly type: "put" | "delete";
  readonly key: string;
  readonly value: string;
  readonly lease: string;
}

/** Whether `[key, end)`, with etcd's two special ends, has a key in it. */
export function contains(range: { readonly key: string; readonly end: string }, key: string): boolean {
  if (range.end === "") return key === range.key;
  return key >= range.key && (range.end === "\0" || key < range.end);
}

/** A call in one line. */
export function show(call: Call): string {
  const { id, client, proxy, op, invoked, returned, outcome } = call;
  const time = `${invoked.toFixed(1)}..${returned.toFixed(1)} ms`;
  return `#${id} of ${client} at proxy ${proxy}, ${time}: ${JSON.stringify(op)} -> ${JSON.stringify(outcome)}`;
}
