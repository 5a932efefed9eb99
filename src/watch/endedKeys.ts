import type { ShardSet } from "../shard/shardSet.js";
import { etcd } from "../status/etcd.js";
import type { Runtime } from "../turn/runtime.js";
import { Event, RangeRequest, RangeResponse } from "../wire/messages.js";
import { KV } from "../wire/paths.js";
import type { RawEvent } from "../wire/watch.js";
import type { Moves } from "./moves.js";

export interface EndedKeysDeps {
  readonly shards: ShardSet;
  readonly moves: Pick<Moves, "endsAt">;
  readonly runtime: Pick<Runtime, "timer">;
  /** True if the keys of this shard are wanted. The others are left out. */
  wants(shard: number): boolean;
  /** Called when `at` may return more. */
  arrived(): void;
}

/** The event of a key that ends with a move, as if the key's last holder had sent it. */
export interface EndedKey {
  readonly shard: number;
  readonly event: RawEvent;
}

const RETRY_DELAY_MS = 1_000;
const DELETE = 1;
const NOTHING: readonly EndedKey[] = [];

/** Makes the events of keys that end with a move (`Locator.endsAt`). Their previous values are read from the source. */
export class EndedKeys {
  /** By M. Undefined while the keys are being read. */
  private readonly found = new Map<number, readonly EndedKey[] | undefined>();
  private closed = false;

  constructor(private readonly deps: EndedKeysDeps) {}

  /** The events at M; undefined until the keys are read. Then `arrived` is called. */
  at(revision: number): readonly EndedKey[] | undefined {
    if (this.found.has(revision)) return this.found.get(revision);
    const ends = this.deps.moves.endsAt(revision).filter(({ holder }) => this.deps.wants(holder.shard));
    if (ends.length === 0) return NOTHING;
    this.found.set(revision, undefined);
    void Promise.all(ends.map(({ key, holder }) => this.read(key, holder.shard, holder.at))).then(
      (events) => {
        if (this.closed) return;
        this.found.set(revision, events);
        this.deps.arrived();
      },
    );
    return undefined;
  }

  /** Drops the events at M. */
  forget(revision: number): void {
    this.found.delete(revision);
  }

  close(): void {
    this.closed = true;
  }

  private async read(key: Uint8Array, shard: number, at: number): Promise<EndedKey> {
    // Above all revisions of the previous value, so that it gets the revision of the move and those do not.
    const modRevision = at + 1;
    const kv = { key, modRevision };
    const prevKv = await this.previous(key, shard, at);
    const raw = Event.encode({ type: DELETE, kv, ...(prevKv !== undefined && { prevKv }) });
    return { shard, event: { type: DELETE, key, modRevision, raw } };
  }

  /** The key at a shard revision; undefined when that is compacted, as for the previous values of etcd's own events. */
  private async previous(key: Uint8Array, index: number, revision: number) {
    const request = RangeRequest.encode({ key, revision });
    while (!this.closed) {
      try {
        const shard = this.deps.shards.find(index);
        if (shard === undefined) return undefined;
        return RangeResponse.decode(await shard.call(KV.Range, request, { idempotent: true })).kvs[0];
      } catch (reason) {
        if (etcd.compacted.is(reason)) return undefined;
        await new Promise<void>((resolve) => {
          this.deps.runtime.timer(RETRY_DELAY_MS, resolve);
        });
      }
    }
    return undefined;
  }
}
