import { isExecutable } from "./answers.js";
import { TRUTH } from "./check.js";
import {
  type Answer,
  type Call,
  type Change,
  contains,
  type Frame,
  type History,
  type KeyMove,
  type Kv,
  type NativeChange,
  type Op,
  type Outcome,
  type WatchSession,
} from "./history.js";
import { applyChange, deletion, execute } from "./model.js";

type Mutable<T> = T extends object ? { -readonly [K in keyof T]: Mutable<T[K]> } : T;

/** A history to be falsified: everything in it can be changed. */
export type Draft = Mutable<History>;
export type DraftCall = Mutable<Call>;

/** What every header of a simulated history says besides the revision. */
export const HEADER = { cluster: "1", term: 2 };

/** Makes histories as a correct store brings them about, one call after the other, each 10 ms long. */
export class Sim {
  private readonly calls: Call[] = [];
  private readonly state = new Map<string, Kv>();
  /** From revision 2 on. */
  private readonly log: { changes: readonly Change[]; at: number }[] = [];
  private readonly moves: KeyMove[] = [];
  private now = 0;

  constructor(private readonly shards: Readonly<Record<string, number>>) {}

  get revision(): number {
    return this.log.length + 1;
  }

  /** Lets time go by, ms. */
  wait(ms: number): void {
    this.now += ms;
  }

  /** A call that takes effect and is answered. */
  answered(op: Op): void {
    const effect = this.take(op);
    this.record(op, { kind: "answered", ...HEADER, revision: this.revision, answer: effect });
  }

  /** A call that nobody answered, and that took effect or did not. */
  unknown(op: Op, takesEffect: boolean): void {
    if (takesEffect) this.take(op);
    this.record(op, { kind: "unknown", code: 14, message: "gone" });
  }

  refused(op: Op, code: number, message: string): void {
    this.record(op, { kind: "refused", code, message });
  }

  /** All keys of a lease are deleted, as by its end. */
  leaseEnds(lease: string): void {
    const keys = [...this.state.values()].filter((kv) => kv.lease === lease);
    this.write(keys.map((kv) => deletion(kv, this.revision + 1)));
  }

  /** A revision at which nothing happens. */
  gap(): void {
    this.log.push({ changes: [], at: this.now + 5 });
  }

  /** Keys move to other shards. Leases of some have ended since the revision `frozenAt`. */
  move(keys: Readonly<Record<string, number>>, frozenAt: number, ended: readonly string[]): void {
    const changes = ended.map((key) => deletion(this.state.get(key)!, this.revision + 1));
    for (const change of changes) applyChange(this.state, change);
    this.log.push({ changes, at: this.now + 5 });
    this.moves.push({ revision: this.revision, frozenAt, keys });
  }

  /** These keys are deleted, as by the end of their lease on their shard. */
  end(...keys: string[]): void {
    this.write(keys.map((key) => deletion(this.state.get(key)!, this.revision + 1)));
  }

  /** A past revision's content of a range. */
  old(range: { key: string; end: string }, revision: number): void {
    const past = new Map<string, Kv>();
    for (const { changes } of this.log.slice(0, revision - 1)) {
      for (const change of changes) applyChange(past, change);
    }
    const op: Op = { kind: "range", ...range, revision, limit: 0, serializable: false };
    const { answer } = execute(past, op, revision);
    this.record(op, { kind: "answered", ...HEADER, revision: this.revision, answer });
  }

  /** The history so far, with a watcher of the whole store and the given ones: name → what it watches, from where. */
  history(watchers: Readonly<Record<string, Pick<WatchSession, "key" | "end" | "prevKv" | "from">>>): Draft {
    const whole = { key: "\0", end: "\0", prevKv: true, from: 2 };
    const sessions = Object.entries({ [TRUTH]: whole, ...watchers }).map(([watcher, wanted]) =>
      this.session(watcher, wanted),
    );
    const { calls, shards, revision: head } = this;
    // Nothing in it may be shared, or one falsification would be many.
    const history: History = { calls, sessions, shards, head, native: this.native() };
    return JSON.parse(JSON.stringify(this.moves.length > 0 ? this.withPlans(history) : history));
  }

  private withPlans(history: History): History {
    const { moves, native } = { moves: this.moves, native: history.native };
    const shardOf = (key: string) => moves.findLast(({ keys }) => key in keys)?.keys[key] ?? this.shards[key];
    const state = native.map((_, shard) =>
      [...this.state.values()]
        .filter(({ key }) => shardOf(key) === shard)
        .map(({ key, value, lease }) => ({ key, value, lease })),
    );
    return { ...history, native: native.map(() => []), plans: { from: 1, moves, state } };
  }

  private take(op: Op): Answer {
    if (op.kind === "compact") return { kind: "compact" };
    if (!isExecutable(op)) return { kind: "lease", ttl: op.kind === "grant" ? op.ttl : 0 };
    const effect = execute(this.state, op, this.revision + 1);
    this.write(effect.changes);
    return effect.answer;
  }

  private write(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    for (const change of changes) applyChange(this.state, change);
    this.log.push({ changes, at: this.now + 5 });
  }

  private record(op: Op, outcome: Outcome): void {
    const invoked = this.now;
    this.now += 10;
    const id = this.calls.length;
    this.calls.push({ id, client: "c", proxy: 0, op, invoked, returned: this.now - 1, outcome });
  }

  private session(
    watcher: string,
    wanted: Pick<WatchSession, "key" | "end" | "prevKv" | "from">,
  ): WatchSession {
    const plain = { at: 0, canceled: false, compactRevision: 0, reason: "", created: false, events: [] };
    const frames: Frame[] = [{ ...plain, created: true, revision: Math.max(1, wanted.from - 1) }];
    this.log.forEach(({ changes, at }, index) => {
      const revision = index + 2;
      const events = changes
        .filter(({ kv }) => revision >= wanted.from && contains(wanted, kv.key))
        .map((change) => (wanted.prevKv ? change : { ...change, prev: null }));
      if (events.length > 0) frames.push({ ...plain, revision, events, at });
    });
    frames.push({ ...plain, revision: this.revision });
    return { watcher, proxy: 0, ...wanted, opened: 0, frames };
  }

  private native(): NativeChange[][][] {
    const shardCount = Math.max(...Object.values(this.shards)) + 1;
    return Array.from({ length: shardCount }, (_, shard) =>
      this.log
        .map(({ changes }) => changes.filter(({ kv }) => this.shards[kv.key] === shard))
        .filter((changes) => changes.length > 0)
        .map((changes) =>
          changes.map(({ type, kv }) => ({ type, key: kv.key, value: kv.value, lease: kv.lease })),
        ),
    );
  }
}
