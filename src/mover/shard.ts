import type { Bound } from "../reshard/bound.js";
import type { KeyValue } from "../wire/messages.js";

/** Why a call of the mover failed. */
export type Problem =
  /** The call may or may not have taken effect. */
  | "unknown outcome"
  /** The shard no longer has the revisions that the call needs. */
  | "compacted"
  /** A put named a lease that the shard does not have. */
  | "lease not found"
  /** The shard's database has reached its quota. */
  | "no space"
  /** A request has more bytes or operations than the shard accepts. */
  | "too large"
  /** The call had no effect, because the shard or the timeline host could not be reached. */
  | "unreachable";

/** A failed call to a shard or to the log. The message is for operators, and names the cluster. */
export class MoverError extends Error {
  override readonly name = "MoverError";

  constructor(
    readonly problem: Problem,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** True when a call has failed because the shard no longer has the revisions that it needs. */
export const isCompacted = (error: unknown): boolean =>
  error instanceof MoverError && error.problem === "compacted";

/** True when a call had no effect, because the shard could not be reached. */
export const isUnreachable = (error: unknown): error is MoverError =>
  error instanceof MoverError && error.problem === "unreachable";

/** A range of keys [from, to) to read. */
export interface PageRequest {
  readonly from: Bound;
  readonly to: Bound;
  /** Most keys to return, at least 1. */
  readonly limit: number;
  /** Shard revision to read at. 0 or absent: the newest, linearizably. */
  readonly revision?: number;
  /** True to leave out the values. */
  readonly keysOnly?: boolean;
}

/** Keys in ascending order, with the shard's own revisions. */
export interface Page {
  readonly kvs: readonly KeyValue[];
  /** True when the range has more keys. */
  readonly more: boolean;
  /** The shard's revision when it read the page. Without `PageRequest.revision`, the page is the state at it. */
  readonly revision: number;
}

export type MoverOp =
  | { readonly kind: "put"; readonly key: Uint8Array; readonly value: Uint8Array; readonly lease: bigint }
  | {
      readonly kind: "delete";
      readonly key: Uint8Array;
      /** The end of the range [key, end) to delete. Absent: only `key`. */
      readonly end?: Uint8Array | undefined;
    };

/** A transaction of the mover. It does all of `ops` or nothing. No two operations name the same key. */
export interface MoverTxn {
  /** The position that gen must have; undefined: any. */
  readonly gen: number | undefined;
  readonly ops: readonly MoverOp[];
}

export interface MoverTxnResult {
  /** False when a compare failed. Then nothing has happened. */
  readonly succeeded: boolean;
  /** True when the transaction has written something: a put, or a deletion of a key that existed. */
  readonly changed: boolean;
  /** The shard's revision after the transaction. When `changed`, it is the transaction's own. */
  readonly revision: number;
}

/** The changes of one shard revision. A deletion has version 0, an empty value and no lease. */
export interface ShardChange {
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
}

/** The changes of a shard from a shard revision on, complete and in order. */
export interface Changes {
  /**
   * Waits for changes up to the shard revision `until`, which the shard has reached, and returns the next ones. Revisions
   * that changed only the proxies' keys may be missing. Returns an empty list when all up to `until` were returned. For one
   * caller at a time. Rejects with `compacted` or `unreachable`.
   */
  next(until: number): Promise<readonly ShardChange[]>;
  close(): void;
}

/** A shard as the mover uses it. All calls reject with `MoverError`, or with another error that the shard answered. */
export interface MoverShard {
  readonly name: string;
  range(request: PageRequest): Promise<Page>;
  /** Rejects with `unknown outcome` when the transaction may have taken effect. Late effects are possible then. */
  txn(txn: MoverTxn): Promise<MoverTxnResult>;
  /** The shard's revision, read linearizably. */
  revision(): Promise<number>;
  /** Opens the changes from the shard revision `from` on, at least 1. */
  changes(from: number): Changes;
  /**
   * Raises gen to `position`, unless it is there or higher. Resolves to the shard revision of the write that raised it;
   * undefined when gen is higher.
   */
  raiseGen(position: number): Promise<number | undefined>;
  /** Writes nothing. Rejects with `no space` when the shard refuses puts. */
  checkSpace(): Promise<void>;
  /** The granted TTL of the lease's part in seconds; undefined when the shard does not have the part. */
  leaseTtl(lease: bigint): Promise<number | undefined>;
  /** Grants a part with this TTL in seconds. Renews it when the shard has the lease. */
  grant(lease: bigint, ttl: number): Promise<void>;
  /** Ends a part and deletes its keys. Does nothing when the shard does not have the part. */
  endPart(lease: bigint): Promise<void>;
}
