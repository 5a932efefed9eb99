import { type Base, decodeBase, encodeBase } from "../../../src/timeline/base.js";
import { decodeEntry, type Entry, encodeEntry } from "../../../src/timeline/entry.js";
import { StoreFold, type StoreState } from "../../../src/timeline/storeFold.js";
import { Lost, type Network } from "./network.js";
import type { Compare, Item, Op, ShardEvent, SimShard } from "./shard.js";
import type { World } from "./world.js";

export const LOG = "\0braid/";
export const LOG_END = "\0braid0";
export const BASE = `${LOG}base`;
const TAIL = `${LOG}tail`;
export const ENTRIES = `${LOG}log/`;
const OF_LOG = { by: "log" } as const;

/** The simulated base: the timeline's own base, which holds the placement, and the next host. */
export interface SimBase {
  /** Number of hosts that the log has had. */
  readonly term: number;
  readonly epoch: number;
  readonly covers: number;
  /** The host on which the log continues. */
  readonly next?: number;
  readonly timeline: string;
}

const padded = (epoch: number): string => String(epoch).padStart(8, "0");

export function encodeState(state: StoreState): { timeline: string } {
  const base: Base = {
    format: 2,
    epoch: 1,
    covers: 0,
    segmentParts: [],
    segmentsInParts: 0,
    generation: 1,
    prunedCount: 0,
    prunedAt: 0,
    map: "",
    clusterIds: [],
  };
  const { value } = encodeBase(base, state, 2 ** 30, () => "");
  return { timeline: Buffer.from(value).toString("base64") };
}

export const decodeState = ({ timeline }: SimBase): StoreState =>
  decodeBase(Buffer.from(timeline, "base64"), () => undefined).state;

/** Writes the first base of a store. */
export function beginLog(host: SimShard, state: StoreState): void {
  const base: SimBase = {
    term: 1,
    epoch: 1,
    covers: host.revision,
    ...encodeState(state),
  };
  host.txn({ guard: [], success: putsOf(base) }, OF_LOG);
}

const putsOf = (base: SimBase) => [
  { kind: "put" as const, key: BASE, value: JSON.stringify(base) },
  { kind: "put" as const, key: TAIL, value: "" },
];

/** One proxy's view of the log. It follows the log with a delay, appends, writes bases, and follows the log to another host. */
export class SimLog {
  fold!: StoreFold;
  host: number;
  /** Host revision up to which the log is folded. */
  seen = 0;
  protected term = 0;
  private epoch = 0;
  private baseRevision = 0;
  private counter = 0;
  private waiting: { holds: () => boolean; go: () => void }[] = [];
  private moving = false;
  private readonly listeners = new Set<() => void>();

  constructor(
    private readonly world: World,
    private readonly network: Network,
    private readonly name: string,
    host: number,
  ) {
    this.host = host;
  }

  /** The position up to which the log is folded. */
  get position(): number {
    return this.fold.positionOf(this.seen);
  }

  /** Loads the log. */
  async open(): Promise<void> {
    while (this.fold === undefined) {
      await this.load();
      if (this.fold === undefined) await this.network.sleep(20);
    }
  }

  /** Follows the log with random delays. Never resolves. */
  async follow(): Promise<void> {
    for (;;) {
      await this.network.sleep(1 + this.world.random.below(this.network.faults.lag));
      await this.pull();
    }
  }

  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((go) => this.waiting.push({ holds, go }));
  }

  /** Reads the end of the log and folds up to it. */
  async sync(): Promise<void> {
    for (;;) {
      const { host, term } = this;
      const shard = this.world.cluster(host);
      const end = await this.network.retry(() => shard.get(TAIL)?.mod ?? 0);
      if (!this.world.random.chance(0.3)) void this.pull();
      await this.until(() => this.seen >= end || this.term !== term);
      if (this.term === term) return;
    }
  }

  /** Appends an entry and folds it; resolves to its position. Throws `Lost` when its outcome is unknown. */
  async append(entry: Partial<Entry>): Promise<number> {
    const text = encodeEntry({ reached: new Map(), compact: 0, leases: [], raftTerm: 0, ...entry });
    for (;;) {
      await this.until(() => !this.moving);
      const { host, term, baseRevision } = this;
      const offset = this.fold.store.positionOffset;
      const key = `${ENTRIES}${padded(this.epoch)}/${this.name}/${this.counter++}`;
      const shard = this.world.cluster(host);
      const { guarded, revision } = await this.network.call(() =>
        shard.txn(
          {
            guard: [{ key: BASE, mod: baseRevision }],
            success: [
              { kind: "put", key, value: text },
              { kind: "put", key: TAIL, value: "" },
            ],
          },
          OF_LOG,
        ),
      );
      void this.pull();
      if (guarded) {
        await this.until(() => this.seen >= revision || this.term !== term);
        return offset + revision;
      }
      await this.until(() => this.baseRevision !== baseRevision || this.term !== term);
    }
  }

  /** What a put on the host adds to its transaction to carry its entry; undefined on other shards, and while the log moves. */
  carried(index: number): { guard: Compare[]; success: Op[] } | undefined {
    if (index !== this.host || this.isArriving) return undefined;
    const value = encodeEntry({ reached: new Map(), compact: 0, leases: [], raftTerm: 0, own: true });
    const key = `${ENTRIES}${padded(this.epoch)}/${this.name}/${this.counter++}`;
    return {
      guard: this.world.breaks("a put with an entry compares the base")
        ? []
        : [{ key: BASE, mod: this.baseRevision }],
      success: [
        { kind: "put", key, value },
        { kind: "put", key: TAIL, value: "" },
      ],
    };
  }

  /** Appends an entry until the outcome is known. For entries that may be repeated. */
  async appendRepeatedly(entry: Partial<Entry>): Promise<void> {
    for (;;) {
      try {
        await this.append(entry);
        return;
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
      }
    }
  }

  /** Seals the shard up to `shardRevision`. `isLogged`: an entry that seals it is in the log already. */
  async seal(shard: number, shardRevision: number, isLogged = false): Promise<void> {
    const { term } = this;
    if (isLogged) await this.until(() => this.fold.cut(shard) >= shardRevision || this.term !== term);
    while (this.fold.cut(shard) < shardRevision)
      await this.appendRepeatedly({ reached: new Map([[shard, shardRevision]]) });
  }

  /** Closes the epoch with a new base. Does nothing when another proxy has written one. */
  async writeBase(): Promise<void> {
    if (this.isArriving) return;
    const { term, epoch, baseRevision, seen, host } = this;
    const base: SimBase = {
      term,
      epoch: epoch + 1,
      covers: seen,
      ...encodeState(this.fold.store),
    };
    const shard = this.world.cluster(host);
    await this.network.call(() =>
      shard.txn(
        {
          guard: [{ key: BASE, mod: baseRevision }],
          success: [...putsOf(base), { kind: "delete", from: ENTRIES, to: `${ENTRIES}${padded(epoch)}` }],
        },
        OF_LOG,
      ),
    );
  }

  /** Moves the log to another host. Does nothing when another proxy has written a base. */
  async moveHost(next: number): Promise<void> {
    if (this.isArriving) return;
    const { term, epoch, baseRevision, seen, host } = this;
    const base = { term, epoch, covers: seen, next, ...encodeState(this.fold.store) };
    const shard = this.world.cluster(host);
    await this.network.call(() =>
      shard.txn({ guard: [{ key: BASE, mod: baseRevision }], success: putsOf(base) }, OF_LOG),
    );
  }

  /** True until the base on the new host is known: the mod revision of the old host's base means nothing there. */
  private get isArriving(): boolean {
    return this.moving && !this.world.breaks("a base's mod revision is of one host");
  }

  /** Reads and folds the log's newer entries. */
  async pull(): Promise<void> {
    if (this.moving) return;
    const { host, term, seen } = this;
    const shard = this.world.cluster(host);
    const changes = await this.network.retry(() =>
      seen + 1 < shard.compacted ? undefined : logChanges(shard, seen + 1),
    );
    if (this.term !== term) return;
    if (changes === undefined) await this.load();
    else this.world.guard(() => this.take(changes));
    this.wake();
  }

  /** Calls `listener` after each change of the fold. Returns a function that removes it. */
  onAdvance(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private wake(): void {
    for (const listener of this.listeners) listener();
    const before = this.waiting;
    this.waiting = [];
    for (const waiter of before) {
      if (waiter.holds()) waiter.go();
      else this.waiting.push(waiter);
    }
  }

  private take(changes: readonly LogChange[]): void {
    for (const { revision, events } of changes) {
      if (revision <= this.seen) continue;
      let base: SimBase | undefined;
      for (const { key, item } of events) {
        if (item === undefined) continue;
        if (key.startsWith(ENTRIES))
          this.fold.apply(decodeEntry(Buffer.from(item.value, "latin1")), revision);
        else if (key === BASE) base = JSON.parse(item.value);
      }
      this.fold.hide(revision);
      this.seen = revision;
      if (base === undefined) continue;
      this.baseRevision = revision;
      this.epoch = base.epoch;
      if (base.next !== undefined) {
        this.leaveFor(base.next, revision);
        return;
      }
    }
  }

  /** Continues on the host `next`. The first proxy to arrive writes the base there. */
  private leaveFor(next: number, revision: number): void {
    this.fold = this.rehosted(next, revision);
    this.host = next;
    this.term++;
    this.seen = 0;
    this.moving = true;
    void this.arrive(this.term);
  }

  protected rehosted(next: number, revision: number): StoreFold {
    return this.fold.rehosted(next, revision);
  }

  private async arrive(term: number): Promise<void> {
    const shard = this.world.cluster(this.host);
    for (;;) {
      const { covers, known } = await this.network.retry(() => ({
        covers: shard.revision,
        known: shard.get(BASE),
      }));
      const there = known === undefined ? undefined : (JSON.parse(known.value) as SimBase);
      if (there !== undefined && there.term >= term) break;
      const base: SimBase = {
        term,
        epoch: this.epoch + 1,
        covers,
        ...encodeState(this.fold.store),
      };
      await this.network
        .call(() =>
          shard.txn(
            {
              guard: [{ key: BASE, mod: known?.mod ?? 0 }],
              success: [...putsOf(base), { kind: "delete", from: ENTRIES, to: `${ENTRIES}~` }],
            },
            OF_LOG,
          ),
        )
        .catch(() => {});
    }
    await this.load();
    this.wake();
  }

  /** Loads the base and the entries above it. */
  private async load(): Promise<void> {
    const { host, term } = this;
    const shard = this.world.cluster(host);
    const { revision, items } = await this.network.retry(() => ({
      revision: shard.revision,
      items: shard.range(LOG, LOG_END),
    }));
    if (this.term !== term || revision <= this.seen) return;
    this.world.guard(() => this.recover(revision, items));
  }

  private recover(revision: number, items: readonly Item[]): void {
    const stored = items.find(({ key }) => key === BASE);
    if (stored === undefined) throw new Error("the log has no base");
    const base = JSON.parse(stored.value) as SimBase;
    this.baseRevision = stored.mod;
    this.epoch = base.epoch;
    this.term = base.term;
    const state = decodeState(base);
    if (this.world.breaks("a base holds the moves")) state.placement.moves = [];
    if (this.world.breaks("a base holds the frozen step") && state.placement.plan !== undefined)
      state.placement.plan = { ...state.placement.plan, frozen: undefined };
    this.fold = StoreFold.of(this.host, state);
    const entries = new Map<number, Item | undefined>();
    for (const item of items) {
      for (const at of [item.create, item.mod])
        if (at > base.covers && !entries.has(at)) entries.set(at, undefined);
      if (item.key.startsWith(ENTRIES) && item.create > base.covers) entries.set(item.create, item);
    }
    for (const [at, entry] of [...entries].sort(([a], [b]) => a - b)) {
      if (entry === undefined) this.fold.hide(at);
      else this.fold.apply(decodeEntry(Buffer.from(entry.value, "latin1")), at);
    }
    this.seen = revision;
    this.moving = false;
    if (base.next !== undefined) this.leaveFor(base.next, stored.mod);
  }
}

interface LogChange {
  readonly revision: number;
  readonly events: readonly ShardEvent[];
}

export function logChanges(shard: SimShard, from: number): LogChange[] {
  const changes: LogChange[] = [];
  for (let revision = from; revision <= shard.revision; revision++) {
    const events = shard.history[revision].filter(({ key }) => key >= LOG && key < LOG_END);
    if (events.length > 0) changes.push({ revision, events });
  }
  return changes;
}
