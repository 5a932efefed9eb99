import { Code, StatusError } from "../status/error.js";
import type { LeaseOp } from "./entry.js";
import type { Applied } from "./fold.js";
import type { Placements } from "./view.js";

/** Lease operations in one entry, about 30 bytes each: an entry must stay far below etcd's request limit. */
const MAX_LEASE_OPS = 4_096;

/**
 * What is asked of the log besides seals, and those who wait for it: compactions and lease operations. A lease operation is
 * logged in the end even if nobody waits for it any more; a compaction is given up with its waiter.
 */
export class Operations {
  /** Lease operations to be logged, in this order, each once. */
  private pendingLeases = new Map<string, LeaseOp>();
  private leaseWaiters = new Map<string, { op: LeaseOp; waiters: Waiter[] }>();
  private compactWaiters: CompactWaiter[] = [];

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

  /** True when there is certainly nothing for the next entry. */
  get isEmpty(): boolean {
    return this.pendingLeases.size === 0 && this.compactWaiters.length === 0;
  }

  /** Takes the lease operations for the next entry, as many as it may hold. */
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
   * The compaction for the next entry, 0 = none. An entry holds one: the lowest first, or it would be refused because of the
   * higher ones.
   */
  get nextCompaction(): number {
    let lowest = 0;
    for (const { revision, key } of this.compactWaiters) {
      if (key === undefined && (lowest === 0 || revision < lowest)) lowest = revision;
    }
    return lowest;
  }

  /** The entry `key` carries a compaction. */
  sent(key: string, compact: number): void {
    for (const waiter of this.compactWaiters) {
      if (waiter.key === undefined && waiter.revision === compact) waiter.key = key;
    }
  }

  /** The entry `key`, with these lease operations, has not landed, or may not have: it all has to be said again. */
  putBack(key: string, leases: readonly LeaseOp[]): void {
    for (const waiter of this.compactWaiters) if (waiter.key === key) waiter.key = undefined;
    if (leases.length === 0) return;
    const since = this.pendingLeases;
    this.pendingLeases = new Map(leases.map((op) => [nameOf(op), op]));
    for (const op of since.values()) this.add(op);
  }

  /** An entry has been folded. */
  applied(key: string, result: Applied): void {
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

  /** Entries may have been passed unseen, so what they did is looked for in the state. */
  reloaded(compactRevision: number, placements: Placements): void {
    this.compactWaiters = this.compactWaiters.filter((waiter) => {
      if (waiter.key === undefined || waiter.revision > compactRevision) return true;
      waiter.resolve(true);
      return false;
    });
    const leases = [...this.leaseWaiters.values()];
    this.leaseWaiters.clear();
    const unknown = new StatusError(
      Code.UNAVAILABLE,
      "etcd-braid: the timeline log was loaded anew meanwhile",
    );
    for (const { op, waiters } of leases) {
      const shards = placements.get(op.lease);
      const holds = op.kind === "place" ? shards?.has(op.shard) === true : shards === undefined;
      for (const waiter of waiters) {
        if (holds) waiter.resolve();
        else waiter.reject(unknown);
      }
    }
  }

  /** Fails all who wait. Compactions are given up with that, which their clients ask for anew; lease operations are not. */
  rejectAll(error: StatusError): void {
    const compactions = this.compactWaiters.splice(0);
    const leases = [...this.leaseWaiters.values()];
    this.leaseWaiters.clear();
    for (const waiter of compactions) waiter.reject(error);
    for (const { waiters } of leases) for (const waiter of waiters) waiter.reject(error);
  }

  /**
   * Makes an operation the last of the pending ones. It is not pending twice, however often it is asked for while the host takes
   * nothing: what pending operations come to depends only on where each of them stands last.
   */
  private add(op: LeaseOp): void {
    const name = nameOf(op);
    this.pendingLeases.delete(name);
    this.pendingLeases.set(name, op);
  }
}

/** Equal for equal operations only. */
const nameOf = (op: LeaseOp): string => (op.kind === "place" ? `${op.lease}/${op.shard}` : `${op.lease}`);

const NO_LEASES: readonly LeaseOp[] = [];

interface Waiter {
  resolve(): void;
  reject(error: StatusError): void;
}

interface CompactWaiter {
  readonly revision: number;
  /** Name of the entry that carries this compaction, once there is one. */
  key: string | undefined;
  resolve(tookEffect: boolean): void;
  reject(error: StatusError): void;
}
