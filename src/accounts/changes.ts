import { type Bound, compareBounds, START } from "../reshard/bound.js";
import type { Tenant } from "../tenants/tenant.js";
import type { Total } from "./counting.js";

/** A change of one key, as far as its event shows it. */
export interface KeyChange {
  readonly key: Uint8Array;
  /** 1 for a new key, -1 for a deletion. */
  readonly keys: number;
  /** By how much the bytes of keys and values change; 0 if that is not known. */
  readonly bytes: number;
  /** True for the deletion of a key whose size is not known. */
  readonly isGuess: boolean;
}

/** How far the keys of a shard were read. */
interface Progress {
  /** All keys below it were read. */
  end: Bound;
  /** Changes since the page began that is being read: they count if it ends above their keys. */
  pending: KeyChange[] | undefined;
}

interface Sum {
  keys: number;
  bytes: number;
  /** Deletions of keys whose size is not known. */
  guesses: number;
}

/**
 * What has changed of each tenant since its keys were counted. A page is read in the state after all changes that were added before
 * it began. So those count that are added later, and whose key the page has.
 */
export class Changes {
  private readonly sums = new Map<Tenant, Sum>();
  /** By shard. Undefined once all keys were read. */
  private progress: Map<number, Progress> | undefined = new Map();

  constructor(
    private readonly tenantOf: (key: Uint8Array) => Tenant | undefined,
    /** The shard that holds a key now. */
    private readonly shardOf: (key: Uint8Array) => number,
  ) {}

  /** The next page of a shard is read now, or again. */
  begins(shard: number): void {
    const end = this.progress?.get(shard)?.end ?? START;
    this.progress?.set(shard, { end, pending: [] });
  }

  /** The page has all keys of the shard below `end`. */
  ends(shard: number, end: Bound): void {
    const pending = this.progress?.get(shard)?.pending ?? [];
    this.progress?.set(shard, { end, pending: undefined });
    for (const change of pending) if (compareBounds(change.key, end) < 0) this.count(change);
  }

  /** All keys were read: every change counts from now on. */
  complete(): void {
    this.progress = undefined;
  }

  add(change: KeyChange): void {
    if (this.progress === undefined) {
      this.count(change);
      return;
    }
    const progress = this.progress.get(this.shardOf(change.key));
    if (progress === undefined) return;
    if (compareBounds(change.key, progress.end) < 0) this.count(change);
    else progress.pending?.push(change);
  }

  /** What a tenant stores now, if `counted` was counted. A deleted key of unknown size counts as one of average size. */
  since(tenant: Tenant, counted: Readonly<Total>): Total {
    const sum = this.sums.get(tenant);
    if (sum === undefined) return { ...counted };
    const keys = Math.max(0, counted.keys + sum.keys);
    const average = counted.keys === 0 ? 0 : counted.bytes / counted.keys;
    const bytes = Math.round(counted.bytes + sum.bytes - sum.guesses * average);
    return { keys, bytes: keys === 0 ? 0 : Math.max(0, bytes) };
  }

  private count({ key, keys, bytes, isGuess }: KeyChange): void {
    const tenant = this.tenantOf(key);
    if (tenant === undefined) return;
    let sum = this.sums.get(tenant);
    if (sum === undefined) {
      sum = { keys: 0, bytes: 0, guesses: 0 };
      this.sums.set(tenant, sum);
    }
    sum.keys += keys;
    sum.bytes += bytes;
    if (isGuess) sum.guesses++;
  }
}
