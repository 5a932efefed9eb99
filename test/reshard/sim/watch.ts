import type { SimProxy } from "./proxy.js";
import { Compacted, type Item, type ShardEvent } from "./shard.js";
import { after, bytesOf, type SeenEvent, textOf, translate, type WatchRecord } from "./world.js";

/** A proxy's watch for one client. Follows all shards and merges their events in revision order. */
export class SimWatch {
  /** Shard → its events by shard revision, up to `reached`. */
  private readonly feeds: { reached: number; readonly events: Map<number, readonly ShardEvent[]> }[] = [];
  /** Events that count at a later revision. */
  private readonly later = new Map<number, SeenEvent[]>();
  private next = 0;

  constructor(
    private readonly proxy: SimProxy,
    private readonly record: WatchRecord,
  ) {}

  /** Serves the client until a compaction cancels the watch. The client then opens another. */
  async run(): Promise<void> {
    const { proxy, record } = this;
    await proxy.log.sync();
    const start = record.progress + 1;
    if (start <= proxy.fold.compactRevision) return this.lose();
    const begun = proxy.world.breaks("feeds begin at a step's freeze")
      ? start
      : proxy.locator.feedFrom(start);
    this.next = begun;
    try {
      for (;;) {
        await proxy.network.sleep(1 + proxy.world.random.below(proxy.network.faults.lag));
        await this.read();
        while (this.next <= proxy.fold.head) {
          if (this.next < proxy.fold.compactRevision && record.progress < proxy.fold.compactRevision)
            return this.lose();
          if (!(await this.deliver())) break;
        }
      }
    } catch (error) {
      if (!(error instanceof Compacted)) throw error;
      await proxy.log.sync();
      const needed = proxy.locator.feedFrom(record.progress + 1);
      // The feed may have started for a step that was thawed since. The events needed now must be there.
      if (proxy.fold.compactRevision <= record.progress && needed <= begun)
        throw new Error(`a shard has forgotten events above revision ${record.progress}`);
      this.lose();
    }
  }

  /** Records the compacted revisions as a gap. The client continues after it. */
  private lose(): void {
    const { record, proxy } = this;
    const to = proxy.fold.compactRevision;
    if (to <= record.progress) return;
    record.gaps.push({ from: record.progress + 1, to });
    record.progress = to;
  }

  /** Reads new events from some of the shards. */
  private async read(): Promise<void> {
    const { proxy } = this;
    const { random } = proxy.world;
    for (let index = 0; index < proxy.fold.store.timeline.cut.length; index++) {
      this.feeds[index] ??= { reached: proxy.fold.cutAt(this.next - 1, index), events: new Map() };
      if (random.chance(0.4)) continue;
      const feed = this.feeds[index];
      const shard = proxy.shard(index);
      for (const { revision, events } of await proxy.network.retry(() =>
        shard.changesFrom(feed.reached + 1),
      )) {
        if (revision <= feed.reached) continue;
        feed.events.set(revision, events);
        feed.reached = revision;
      }
    }
  }

  /** Delivers the next revision. False when it must wait. */
  private async deliver(): Promise<boolean> {
    const { proxy, record, next } = this;
    const { fold, locator } = proxy;
    const run = fold.runAt(next);
    const deliveries = this.later.get(next) ?? [];
    this.later.delete(next);
    for (const { key, holder } of run.shard < 0 ? locator.endsAt(next) : []) {
      const name = textOf(key);
      const shard = proxy.shard(holder.shard);
      const [item] = await proxy.network.retry(() => shard.range(name, after(name), holder.at));
      deliveries.push(this.seen(holder.shard, next, { key: name, item: undefined, before: item }));
    }
    if (run.shard >= 0) {
      const feed = this.feeds[run.shard];
      if (feed === undefined || feed.reached < run.shardRevision) return false;
      const events = (feed.events.get(run.shardRevision) ?? []).filter(({ key }) => key >= "\x01");
      const { frozen } = fold.placement.snapshot().plan ?? {};
      if (
        frozen !== undefined &&
        next > frozen.revision &&
        !proxy.world.breaks("feeds wait for a frozen step")
      ) {
        if (events.some(({ key }) => locator.isInFrozenStep(bytesOf(key)))) return false;
      }
      feed.events.delete(run.shardRevision);
      for (const event of events) {
        const at = locator.countsAt(bytesOf(event.key), run.shard, run.shardRevision, next);
        if (at === undefined) continue;
        const seen = this.seen(run.shard, at, event);
        if (at === next) deliveries.push(seen);
        else this.later.set(at, [...(this.later.get(at) ?? []), seen]);
      }
    }
    this.next++;
    if (next <= record.progress) return true;
    record.events.push(...deliveries.filter(({ key }) => key >= record.from && key < record.to));
    record.progress = next;
    return true;
  }

  private seen(
    shard: number,
    revision: number,
    { key, item, before }: Omit<ShardEvent, "origin">,
  ): SeenEvent {
    const shown = (each: Item | undefined) => each && translate(this.proxy.fold, shard, each);
    return { revision, key, item: shown(item), before: shown(before) };
  }
}
