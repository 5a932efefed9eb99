/** A key on a simulated shard, with etcd's metadata. Keys and values are latin1 text. */
export interface Item {
  readonly key: string;
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
  readonly lease: number;
}

/** The cause of a change. Only the checks at the end use it, not the protocol. */
export type Origin =
  | { readonly by: "client"; readonly operation: number }
  | { readonly by: "lease"; readonly lease: number }
  | { readonly by: "mover" | "log" };

export interface ShardEvent {
  readonly key: string;
  /** Undefined: deleted. */
  readonly item: Item | undefined;
  readonly before: Item | undefined;
  readonly origin: Origin;
}

export type Compare =
  | { readonly key: string; readonly mod: number }
  | { readonly key: string; readonly valueBelow: string }
  | { readonly key: string; readonly valueAbove: string };

export type Op =
  | { readonly kind: "put"; readonly key: string; readonly value: string; readonly lease?: number }
  | { readonly kind: "delete"; readonly from: string; readonly to?: string }
  | { readonly kind: "get"; readonly key: string };

export interface TxnRequest {
  /** Compared first. If it fails, no operation is executed. */
  readonly guard: readonly Compare[];
  readonly compares?: readonly Compare[];
  readonly success: readonly Op[];
  readonly failure?: readonly Op[];
}

export interface TxnAnswer {
  readonly guarded: boolean;
  readonly succeeded: boolean;
  /** The shard's revision after the transaction. */
  readonly revision: number;
  readonly changed: boolean;
  /** The previous keys of puts and deletes and the keys of gets, in order of the operations. */
  readonly items: readonly Item[];
}

export class LeaseNotFound extends Error {}
export class Compacted extends Error {}

/** An in-memory etcd. Calls take effect at once. `history` survives compaction, for the checks. */
export class SimShard {
  revision = 1;
  compacted = 0;
  /** Shard revision → its events. */
  readonly history: (readonly ShardEvent[])[] = [[], []];
  readonly leases = new Set<number>();
  private readonly items = new Map<string, Item>();
  private readonly versions = new Map<string, { at: number; item: Item | undefined }[]>();

  constructor(readonly name: string) {}

  get(key: string): Item | undefined {
    return this.items.get(key);
  }

  /** The keys of [from, to) in order, at a revision (0: now). Throws `Compacted`, or a RangeError for a future revision. */
  range(from: string, to: string, at = 0): Item[] {
    if (at > this.revision) throw new RangeError(`shard ${this.name} has not reached ${at}`);
    if (at > 0 && at < this.compacted) throw new Compacted();
    const found: Item[] = [];
    for (const key of this.versions.keys()) {
      if (key < from || key >= to) continue;
      const item = at === 0 ? this.items.get(key) : this.itemAt(key, at);
      if (item !== undefined) found.push(item);
    }
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  txn(request: TxnRequest, origin: Origin): TxnAnswer {
    const holds = (compare: Compare) => this.holds(compare);
    const { compares = [], failure = [] } = request;
    const guarded = request.guard.every(holds);
    const succeeded = guarded && compares.every(holds);
    const ops = !guarded ? [] : succeeded ? request.success : failure;
    for (const op of ops) {
      if (op.kind === "put" && op.lease !== undefined && op.lease !== 0 && !this.leases.has(op.lease))
        throw new LeaseNotFound();
    }
    const events: ShardEvent[] = [];
    const items: Item[] = [];
    const revision = this.revision + 1;
    for (const op of ops) {
      if (op.kind === "put") {
        const before = this.items.get(op.key);
        if (before !== undefined) items.push(before);
        events.push(this.put(op.key, op.value, op.lease ?? 0, revision, origin));
      } else if (op.kind === "get") {
        const item = this.items.get(op.key);
        if (item !== undefined) items.push(item);
      } else {
        const doomed =
          op.to === undefined
            ? [this.items.get(op.from)].flatMap((item) => item ?? [])
            : this.range(op.from, op.to);
        items.push(...doomed);
        for (const item of doomed) events.push(this.remove(item, origin));
      }
    }
    this.commit(events);
    return { guarded, succeeded, revision: this.revision, changed: events.length > 0, items };
  }

  grant(lease: number): void {
    this.leases.add(lease);
  }

  /** Ends a lease, as expiry or revocation do. False when it had already ended. */
  endLease(lease: number): boolean {
    if (!this.leases.delete(lease)) return false;
    const doomed = [...this.items.values()].filter((item) => item.lease === lease);
    this.commit(doomed.map((item) => this.remove(item, { by: "lease", lease })));
    return true;
  }

  compact(at: number): void {
    this.compacted = Math.max(this.compacted, Math.min(at, this.revision));
  }

  /** The events from the revision `from` on. Throws `Compacted`, as a watch that starts there would. */
  changesFrom(from: number): { revision: number; events: readonly ShardEvent[] }[] {
    if (from < this.compacted) throw new Compacted();
    const changes: { revision: number; events: readonly ShardEvent[] }[] = [];
    for (let revision = from; revision <= this.revision; revision++)
      changes.push({ revision, events: this.history[revision] });
    return changes;
  }

  /** All keys at a revision, also when it is compacted. For the checks at the end. */
  stateAt(at: number): Item[] {
    return [...this.versions.keys()].flatMap((key) => this.itemAt(key, at) ?? []);
  }

  private itemAt(key: string, at: number): Item | undefined {
    return this.versions.get(key)?.findLast((version) => version.at <= at)?.item;
  }

  private holds(compare: Compare): boolean {
    const item = this.items.get(compare.key);
    if ("mod" in compare) return (item?.mod ?? 0) === compare.mod;
    // In etcd, a value compare is false for a key that does not exist.
    if (item === undefined) return false;
    return "valueBelow" in compare ? item.value < compare.valueBelow : item.value > compare.valueAbove;
  }

  private put(key: string, value: string, lease: number, mod: number, origin: Origin): ShardEvent {
    const before = this.items.get(key);
    const item = {
      key,
      value,
      create: before?.create ?? mod,
      mod,
      version: (before?.version ?? 0) + 1,
      lease,
    };
    this.items.set(key, item);
    return { key, item, before, origin };
  }

  private remove(before: Item, origin: Origin): ShardEvent {
    this.items.delete(before.key);
    return { key: before.key, item: undefined, before, origin };
  }

  private commit(events: readonly ShardEvent[]): void {
    if (events.length === 0) return;
    this.revision++;
    this.history.push(events);
    for (const { key, item } of events) {
      const versions = this.versions.get(key) ?? [];
      versions.push({ at: this.revision, item });
      this.versions.set(key, versions);
    }
  }
}
