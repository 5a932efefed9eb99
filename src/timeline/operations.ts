import { Code, StatusError } from "../status/error.js";
import type { Entry, LeaseOp } from "./entry.js";
import type { Applied } from "./fold.js";
import type { Placements } from "./view.js";

/** Lease operations in one entry, about 30 bytes each. An entry must stay far below etcd's request limit. */
const MAX_LEASE_OPS = 4_096;

/**
 * Compactions and lease operations for the log, with their waiters. A lease operation is logged eventually, even after its
 * waiters were rejected. A compaction is dropped with its waiter.
 */
export class Operations {
  /** Lease operations that are not in an entry yet, in the order in which they will be logged. */
  private pendingLeases = new Map<string, LeaseOp>();
  private leaseWaiters = new Map<string, { op: LeaseOp; waiters: Waiter[] }>();
  private compactWaiters: CompactWaiter[] = [];
  /** Entries with lease operations, by key, until they are folded or put back. */
  private readonly sentEntries = new Map<string, SentEntry>();

  /** Resolves like `Timeline.compact`. */
  compact(revision: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.compactWaiters.push({ revision, key: undefined, resolve, reject });
    });
  }

  /** Resolves when the operation has been folded. */
  changeLease(op: LeaseOp): Promise<void> {
    return new Promise((resolve, reject) => {
      const key = nameOf(op);
      const known = this.leaseWaiters.get(key);
      if (known === undefined) this.leaseWaiters.set(key, { op, waiters: [{ resolve, reject }] });
      else known.waiters.push({ resolve, reject });
      this.add(op);
    });
  }

  /** True when there is nothing for the next entry. False does not guarantee that there is something. */
  get isEmpty(): boolean {
    return this.pendingLeases.size === 0 && this.compactWaiters.length === 0;
  }

  /** Takes the lease operations for the next entry, up to its limit. */
  takeLeases(): readonly LeaseOp[] {
    if (this.pendingLeases.size === 0) return NO_LEASES;
    const taken: LeaseOp[] = [];
    for (const [name, op] of this.pendingLeases) {
      this.pendingLeases.delete(name);
      if (taken.push(op) === MAX_LEASE_OPS) break;
    }
    return taken;
  }

  /**
   * The revision of the compaction for the next entry; 0: none. An entry can have only one. The lowest goes first, because
   * it would be refused after a higher one.
   */
  get nextCompaction(): number {
    let lowest = 0;
    for (const { revision, key } of this.compactWaiters) {
      if (key === undefined && (lowest === 0 || revision < lowest)) lowest = revision;
    }
    return lowest;
  }

  /** Records that an append of the entry `key` begins. */
  sent(key: string, { compact, leases }: Pick<Entry, "compact" | "leases">): void {
    if (leases.length > 0) this.sentEntries.set(key, { names: leases.map(nameOf), isFolded: undefined });
    if (compact === 0) return;
    for (const waiter of this.compactWaiters) {
      if (waiter.key === undefined && waiter.revision === compact) waiter.key = key;
    }
  }

  /** Records that the entry `key` is in the log. `isFolded` tells whether it is folded here. */
  landed(key: string, isFolded: () => boolean, placements: Placements): void {
    const sent = this.sentEntries.get(key);
    if (sent === undefined) return;
    sent.isFolded = isFolded;
    if (!isFolded()) return;
    // A reload has read past it.
    this.sentEntries.delete(key);
    for (const name of sent.names) this.settle(name, placements);
  }

  /** Schedules the operations of the entry `key` again, because it was not logged, or may not have been. */
  putBack(key: string, leases: readonly LeaseOp[]): void {
    this.sentEntries.delete(key);
    for (const waiter of this.compactWaiters) if (waiter.key === key) waiter.key = undefined;
    if (leases.length === 0) return;
    const since = this.pendingLeases;
    this.pendingLeases = new Map(leases.map((op) => [nameOf(op), op]));
    for (const op of since.values()) this.add(op);
  }

  /** Settles the waiters of an entry that has been folded. */
  applied(key: string, result: Applied): void {
    this.sentEntries.delete(key);
    if (this.compactWaiters.length > 0) {
      this.compactWaiters = this.compactWaiters.filter((waiter) => {
        if (waiter.key !== key) return true;
        waiter.resolve(result.compacted);
        return false;
      });
    }
    if (this.leaseWaiters.size === 0) return;
    for (const op of result.leases) {
      const known = this.leaseWaiters.get(nameOf(op));
      if (known === undefined) continue;
      this.leaseWaiters.delete(nameOf(op));
      for (const waiter of known.waiters) waiter.resolve();
    }
  }

  /**
   * Settles waiters after a reload. Entries may have been folded into the base, so the state decides. Operations that are still to
   * be folded go on waiting.
   */
  reloaded(compactRevision: number, placements: Placements): void {
    this.compactWaiters = this.compactWaiters.filter((waiter) => {
      if (waiter.key === undefined || waiter.revision > compactRevision) return true;
      waiter.resolve(true);
      return false;
    });
    const coming = new Set<string>(this.pendingLeases.keys());
    for (const [key, { names, isFolded }] of this.sentEntries) {
      if (isFolded?.()) this.sentEntries.delete(key);
      else for (const name of names) coming.add(name);
    }
    for (const name of [...this.leaseWaiters.keys()]) if (!coming.has(name)) this.settle(name, placements);
  }

  /** Settles the waiters of an operation whose entry was folded by a reload: the state decides. */
  private settle(name: string, placements: Placements): void {
    const known = this.leaseWaiters.get(name);
    if (known === undefined) return;
    this.leaseWaiters.delete(name);
    const { op, waiters } = known;
    const shards = placements.get(op.lease);
    const holds = op.kind === "place" ? shards?.has(op.shard) === true : shards === undefined;
    for (const waiter of waiters) {
      if (holds) waiter.resolve();
      else waiter.reject(UNKNOWN);
    }
  }

  /** Rejects all waiters. Compactions are dropped with them, since clients retry those. Lease operations stay pending. */
  rejectAll(error: StatusError): void {
    const compactions = this.compactWaiters.splice(0);
    const leases = [...this.leaseWaiters.values()];
    this.leaseWaiters.clear();
    for (const waiter of compactions) waiter.reject(error);
    for (const { waiters } of leases) for (const waiter of waiters) waiter.reject(error);
  }

  /**
   * Moves an operation to the end of the pending ones. It is pending once, however often callers repeat it while the host
   * takes no entries: the outcome depends only on the last occurrence of each operation.
   */
  private add(op: LeaseOp): void {
    const name = nameOf(op);
    this.pendingLeases.delete(name);
    this.pendingLeases.set(name, op);
  }
}

/** A name that only equal operations share. */
const nameOf = (op: LeaseOp): string => (op.kind === "place" ? `${op.lease}/${op.shard}` : `${op.lease}`);

const NO_LEASES: readonly LeaseOp[] = [];

/** An operation was logged, and another one has undone it, or its outcome is unknown. */
const UNKNOWN = new StatusError(Code.UNAVAILABLE, "etcd-braid: the timeline log was reloaded meanwhile");

interface SentEntry {
  /** Names of its operations. */
  readonly names: readonly string[];
  /** Tells whether the entry is folded here; undefined until it is known to be in the log. */
  isFolded: (() => boolean) | undefined;
}

interface Waiter {
  resolve(): void;
  reject(error: StatusError): void;
}

interface CompactWaiter {
  readonly revision: number;
  /** Key of the entry that contains this compaction; undefined while there is none. */
  key: string | undefined;
  resolve(tookEffect: boolean): void;
  reject(error: StatusError): void;
}
