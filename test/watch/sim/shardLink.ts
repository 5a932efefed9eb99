import type { CallOptions, Done, Shard, ShardStream, StreamEvents } from "../../../src/shard/shard.js";
import { Code, StatusError } from "../../../src/status/error.js";
import { etcd } from "../../../src/status/etcd.js";
import {
  type Event,
  type KeyValue,
  RangeRequest,
  RangeResponse,
  type WatchCreateRequest,
  WatchRequest,
  WatchResponse,
} from "../../../src/wire/messages.js";
import { KV } from "../../../src/wire/paths.js";
import type { SimProxy } from "../../reshard/sim/proxy.js";
import { Compacted, type Item, type ShardEvent, type SimShard } from "../../reshard/sim/shard.js";

/** Longest stall of a watch, ms. */
const MAX_STALL_MS = 3_000;

/** A proxy's connection to a simulated shard, with etcd's messages. Watches lag and break. */
export class ShardLink implements Shard {
  readonly name: string;

  constructor(
    private readonly proxy: SimProxy,
    readonly index: number,
  ) {
    this.name = this.shard.name;
  }

  unary(path: string, request: Uint8Array, options: CallOptions, done: Done): () => void {
    let open = true;
    this.call(path, request, options).then(
      (response) => open && done(undefined, response),
      (error: StatusError) => open && done(error, new Uint8Array(0)),
    );
    return () => {
      open = false;
    };
  }

  async call(path: string, request: Uint8Array, _options: CallOptions): Promise<Uint8Array> {
    if (path !== KV.Range) throw new Error(`simulated: no ${path}`);
    const { key, rangeEnd, revision, countOnly } = RangeRequest.decode(request);
    if (rangeEnd.length > 0) throw new Error("simulated: no ranges");
    try {
      return await this.proxy.network.call(() => {
        const name = Buffer.from(key).toString("latin1");
        const items = this.shard.range(name, `${name}\0`, revision);
        const kvs = countOnly ? [] : items.map(kvOf);
        return RangeResponse.encode({ header: this.header, kvs, count: items.length });
      });
    } catch (reason) {
      if (reason instanceof Compacted) throw etcd.compacted();
      if (reason instanceof RangeError) throw etcd.futureRevision();
      throw new StatusError(Code.UNAVAILABLE, "simulated: no response", { cause: reason });
    }
  }

  stream(_path: string, events: StreamEvents): ShardStream {
    const watch = new ShardWatch(this.proxy, this.shard, events);
    return {
      send: (message) => {
        const decoded = WatchRequest.decode(message);
        if (decoded.kind !== "create") throw new Error("simulated: a watch that is not created");
        this.proxy.world.spawn(watch.run(decoded.request));
      },
      pause: () => {
        watch.paused = true;
      },
      resume: () => {
        watch.paused = false;
      },
      cancel: () => {
        watch.open = false;
      },
    };
  }

  close(): void {}

  private get shard(): SimShard {
    return this.proxy.shard(this.index);
  }

  private get header() {
    return { clusterId: 1n, memberId: 1n, revision: this.shard.revision, raftTerm: 1 };
  }
}

/** One native watch, which polls the shard. */
class ShardWatch {
  open = true;
  paused = false;

  constructor(
    private readonly proxy: SimProxy,
    private readonly shard: SimShard,
    private readonly events: StreamEvents,
  ) {}

  async run(request: WatchCreateRequest): Promise<void> {
    const { network, world } = this.proxy;
    await network.sleep(world.random.below(5));
    this.push(WatchResponse.encode({ created: true }));
    const begin = request.startRevision === 0 ? this.shard.revision + 1 : request.startRevision;
    let next = begin;
    while (this.open) {
      await network.sleep(1 + world.random.below(network.faults.lag));
      // A watch may fall so far behind that a compaction overtakes it. Not at its begin: a feed trusts an etcd that responds
      // promptly to have sent the events of the compacted revision within a second (feed.ts).
      const stalls = next !== begin && world.random.chance(network.faults.slow / 4);
      if (stalls) await network.sleep(world.random.below(MAX_STALL_MS));
      if (!this.open || this.paused) continue;
      if (world.random.chance(network.faults.loss / 4)) {
        this.open = false;
        this.events.closed(new StatusError(Code.UNAVAILABLE, "simulated: connection lost"));
        return;
      }
      try {
        for (const { revision, events } of this.shard.changesFrom(next)) {
          next = revision + 1;
          this.send(revision, events, request);
        }
      } catch (reason) {
        if (!(reason instanceof Compacted)) throw reason;
        this.push(WatchResponse.encode({ canceled: true, compactRevision: this.shard.compacted }));
        return;
      }
    }
  }

  private send(revision: number, all: readonly ShardEvent[], { key, rangeEnd, prevKv }: WatchCreateRequest) {
    const { random } = this.proxy.world;
    const begin = Buffer.from(key).toString("latin1");
    const end =
      rangeEnd.length === 0
        ? `${begin}\0`
        : rangeEnd[0] === 0
          ? "\uffff"
          : Buffer.from(rangeEnd).toString("latin1");
    const events = all
      .filter((event) => event.key >= begin && event.key < end)
      .map((event) => eventOf(event, revision, prevKv && revision > this.shard.compacted));
    for (let from = 0; from < events.length; ) {
      const size = random.chance(0.3) ? 1 + random.below(2) : events.length;
      const piece = events.slice(from, from + size);
      from += size;
      this.push(WatchResponse.encode({ events: piece, fragment: from < events.length }));
    }
  }

  private push(message: Uint8Array): void {
    if (this.open) this.proxy.world.guard(() => this.events.message(message));
  }
}

function eventOf({ key, item, before }: ShardEvent, revision: number, withPrevious: boolean): Event {
  const kv = item === undefined ? { key: Buffer.from(key, "latin1"), modRevision: revision } : kvOf(item);
  const previous = withPrevious && before !== undefined ? { prevKv: kvOf(before) } : {};
  return { type: item === undefined ? 1 : 0, kv, ...previous } as Event;
}

const kvOf = (item: Item): KeyValue => ({
  key: Buffer.from(item.key, "latin1"),
  value: Buffer.from(item.value),
  createRevision: item.create,
  modRevision: item.mod,
  version: item.version,
  lease: BigInt(item.lease),
});
