import { RecentMap } from "../auth/recentMap.js";
import type { Hub } from "../watch/hub.js";
import { AFTER_ALL_KEYS, keyText } from "../watch/keys.js";
import { type Outlet, Watcher } from "../watch/watcher.js";
import { type KeyValue, WatchResponse } from "../wire/messages.js";
import type { KeyChange } from "./changes.js";

export interface FollowerDeps {
  readonly hub: Pick<Hub, "attach" | "detach" | "watermark">;
  readonly timeline: { readonly head: number };
  /** The encoded header field for a revision: clients may share responses with this. */
  header(revision: number): Uint8Array;
  /** Whether the changes of a key matter. */
  matters(key: Uint8Array): boolean;
  changed(change: KeyChange): void;
  /** Called when changes were missed, which begins anew. */
  lost(): void;
}

/** Sizes of keys to remember. At most twice as many are kept. */
const MAX_SIZES = 16_384;
/** The sizes of longer keys are not remembered, in bytes. */
const MAX_KEY_BYTES = 256;
/** All keys that clients can see. */
const EVERYTHING = { begin: "\x01", end: AFTER_ALL_KEYS };

/**
 * Follows the changes of all keys, by a watch of the proxy itself. Previous values would cost a shard a lot, so sizes before a change
 * are known only as far as they were seen.
 */
export class Follower implements Outlet {
  readonly blocked = false;
  private watcher: Watcher | undefined;
  /** Of keys with their values, by the text of the key. Stale for a key that is deleted. */
  private sizes = new RecentMap<number>(MAX_SIZES);

  constructor(private readonly deps: FollowerDeps) {}

  /** Follows what changes from now on. Returns false if it does so already. */
  start(): boolean {
    if (this.watcher !== undefined) return false;
    const { hub, timeline } = this.deps;
    this.sizes = new RecentMap(MAX_SIZES);
    this.watcher = new Watcher(this, {
      id: 0,
      range: EVERYTHING,
      next: timeline.head + 1,
      prevKv: false,
      fragment: true,
      noPut: false,
      noDelete: false,
    });
    hub.attach(this.watcher);
    return true;
  }

  stop(): void {
    if (this.watcher !== undefined) this.deps.hub.detach(this.watcher);
    this.watcher = undefined;
  }

  /** The revision up to which all changes were told; undefined while it does not follow. */
  get position(): number | undefined {
    return this.watcher && this.deps.hub.watermark(this.watcher);
  }

  send(parts: readonly Uint8Array[]): void {
    const { matters, changed } = this.deps;
    for (const { type, kv } of WatchResponse.decode(Buffer.concat(parts)).events)
      if (kv !== undefined && matters(kv.key)) changed(this.changeOf(type === 0, kv));
  }

  header(revision: number): Uint8Array {
    return this.deps.header(revision);
  }

  compacted(watcher: Watcher): void {
    if (watcher !== this.watcher) return;
    this.watcher = undefined;
    this.deps.lost();
  }

  private changeOf(isPut: boolean, { key, value, createRevision, modRevision }: KeyValue): KeyChange {
    const text = key.length > MAX_KEY_BYTES ? undefined : keyText(key);
    const before = text === undefined ? undefined : this.sizes.get(text);
    if (!isPut) return { key, keys: -1, bytes: -(before ?? 0), isGuess: before === undefined };
    const size = key.length + value.length;
    if (text !== undefined) this.sizes.set(text, size);
    if (createRevision === modRevision) return { key, keys: 1, bytes: size, isGuess: false };
    return { key, keys: 0, bytes: size - (before ?? size), isGuess: false };
  }
}
