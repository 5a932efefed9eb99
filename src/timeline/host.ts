import type { StatusError } from "../status/error.js";

/** A key of the timeline as the host stores it. `key` is Latin-1 text. */
export interface HostKey {
  readonly key: string;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
}

/** All keys of the timeline at one host revision. */
export interface Loaded {
  readonly revision: number;
  readonly raftTerm: number;
  readonly keys: readonly HostKey[];
}

/** The end of the log. */
export interface LogTail {
  /** Mod revision of the tail key; 0 when there is none. */
  readonly end: number;
  /** The host's revision when it was read. */
  readonly revision: number;
  readonly raftTerm: number;
}

/** All changes to the timeline's keys at one host revision. */
export interface HostChange {
  readonly revision: number;
  readonly puts: readonly { readonly key: string; readonly value: Uint8Array }[];
  readonly deletes: readonly string[];
}

/** The outcome of a transaction on the log. */
export interface Committed {
  readonly committed: boolean;
  /** The host's revision after the transaction: that of the transaction if it was committed. */
  readonly revision: number;
  /** Mod revision of the tail key before the transaction; see `LogHost.commit`. */
  readonly previous: number;
  readonly raftTerm: number;
}

/** The cluster on which the log continues. */
export interface NextHost {
  /** Index of the shard, or -1 when the host is not a shard. */
  readonly shard: number;
  readonly name: string;
  readonly endpoints: readonly string[];
  /** Decimal. */
  readonly clusterId: string;
}

/** Receives the outcome of an append. With an error it is unknown whether the append took effect. */
export type Appended = (error: StatusError | undefined, result: Committed) => void;

/** An entry to be appended by a client's transaction on the host. */
export interface HostCarried {
  /** Encoded fields of a TxnRequest, to be added to the transaction: the compare and the puts of `LogHost.append`. */
  readonly fields: Uint8Array;
  /** Called once, with the response to the transaction; undefined if there is none. Then the outcome is unknown. */
  settle(response: Uint8Array | undefined): Committed;
}

export interface HostWatchEvents {
  changes(changes: readonly HostChange[]): void;
  /** The watch has ended. `compacted`: the host has compacted the revision that it should start from. */
  closed(error: Error, compacted: boolean): void;
}

/**
 * The etcd that keeps the timeline log. Calls reject with `StatusError`. After a rejected `commit` it is unknown whether
 * it took effect.
 */
export interface LogHost {
  /** Name of the etcd in errors, without its addresses. */
  readonly label: string;
  /** False while no call can be sent. */
  readonly isConnected: boolean;
  /** Reads all keys of the timeline at one revision, linearizably. */
  load(): Promise<Loaded>;
  /** Reads the tail key, linearizably. */
  tail(): Promise<LogTail>;
  /**
   * Puts and deletes in one transaction if the mod revision of the base key is `guard` (0: there is no base), and that of
   * `unchanged.key` is still `unchanged.modRevision`.
   * `previous` in the result is the mod revision of the tail key before, that is, the log's previous change. It has no
   * meaning when nothing was committed or the tail was not put.
   */
  commit(
    guard: number,
    puts: readonly { key: string; value: Uint8Array }[],
    deletes: readonly { key: Uint8Array; end: Uint8Array }[],
    unchanged?: Pick<HostKey, "key" | "modRevision">,
  ): Promise<Committed>;
  /**
   * Puts an entry and the tail, like `commit`. Takes a callback, because every write waits for an append. `done` is never
   * called before this method returns.
   */
  append(guard: number, key: string, entry: string, done: Appended): void;
  /** Prepares an append as part of a transaction that the caller sends. */
  carry(guard: number, key: string, entry: string): HostCarried;
  /**
   * Watches the timeline's keys from `revision` on. May omit changes up to `known()`, which the caller has already.
   * Returns a function that ends the watch without a call of `closed`.
   */
  watch(revision: number, events: HostWatchEvents, known: () => number): () => void;
}
