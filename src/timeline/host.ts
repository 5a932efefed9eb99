import type { StatusError } from "../status/error.js";

/** A key of the timeline as the host stores it. `key` is latin1 text: all of them are the proxies' own. */
export interface HostKey {
  readonly key: string;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
}

/** All that one host revision did to the timeline's keys. */
export interface HostChange {
  readonly revision: number;
  readonly puts: readonly { readonly key: string; readonly value: Uint8Array }[];
  readonly deletes: readonly string[];
}

export interface Committed {
  readonly committed: boolean;
  /** The host's revision after the transaction: its own if it was committed. */
  readonly revision: number;
  readonly previous: number;
  readonly raftTerm: number;
}

/** How an append has ended. With an error it is unknown whether it took effect. */
export type Appended = (error: StatusError | undefined, result: Committed) => void;

export interface HostWatchEvents {
  changes(changes: readonly HostChange[]): void;
  /** The watch has ended. `compacted`: the host has forgotten the revision that it should start from. */
  closed(error: Error, compacted: boolean): void;
}

/**
 * What the timeline needs of the etcd that keeps its log. Calls reject with `StatusError`; after a rejected
 * `commit` it is unknown whether it took effect.
 */
export interface LogHost {
  /** Names the etcd in errors, without its addresses. */
  readonly label: string;
  /** False while no call can be sent. */
  readonly isConnected: boolean;
  /** All keys of the timeline at one revision (linearizable). */
  load(): Promise<{ revision: number; raftTerm: number; keys: HostKey[] }>;
  /** Mod revision of the tail key (linearizable); 0 when there is none. */
  tail(): Promise<number>;
  /**
   * Puts and deletes in one transaction if the mod revision of the base key is `guard` (0: does not exist).
   * `previous` is the mod revision of the tail key before that: the log's last change until then. Meaningless
   * when nothing was committed or the tail was not put.
   */
  commit(
    guard: number,
    puts: readonly { key: string; value: Uint8Array }[],
    deletes: readonly { key: Uint8Array; end: Uint8Array }[],
  ): Promise<Committed>;
  /**
   * Puts an entry and the tail, like `commit`. A callback, because every write waits for one; not called before this has
   * returned.
   */
  append(guard: number, key: string, entry: string, done: Appended): void;
  /**
   * Follows the timeline's keys from `revision` on. Changes up to `known()` need not be told: the caller has them already.
   * Returns a function that ends it (then `closed` is not called).
   */
  watch(revision: number, events: HostWatchEvents, known: () => number): () => void;
}
