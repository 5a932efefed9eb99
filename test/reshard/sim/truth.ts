import assert from "node:assert/strict";
import { Locator } from "../../../src/reshard/locator.js";
import { decodeEntry } from "../../../src/timeline/entry.js";
import type { StoreFold } from "../../../src/timeline/storeFold.js";
import { BASE, ENTRIES, logChanges } from "./log.js";
import type { ShardEvent } from "./shard.js";
import { bytesOf, type Seen, type SeenEvent, textOf, type World } from "./world.js";

/**
 * The state at each revision and the events of one etcd that executes the same writes in revision order. The order comes
 * from the log, read from the hosts' whole history. The origin of each event is checked against whether it counts.
 */
export class Truth {
  readonly head: number;
  /** Revision → events, for revisions with events. */
  readonly events = new Map<number, SeenEvent[]>();
  private readonly versions = new Map<string, { at: number; item: Seen | undefined }[]>();
  private readonly fold: StoreFold;

  constructor(private readonly world: World) {
    this.fold = foldAll(world);
    this.head = this.fold.head;
    const locator = new Locator(this.fold.placement, world.maps, this.fold);
    const later = new Map<number, { event: ShardEvent }[]>();
    for (let revision = 2; revision <= this.head; revision++) {
      const { shard, shardRevision } = this.fold.runAt(revision);
      const due = later.get(revision) ?? [];
      for (const event of shard < 0 ? [] : world.shards[shard].history[shardRevision]) {
        if (event.key < "\x01") continue;
        const at = locator.countsAt(bytesOf(event.key), shard, shardRevision, revision);
        this.checkOrigin(event, revision, at);
        if (at === revision) due.push({ event });
        else if (at !== undefined) later.set(at, [...(later.get(at) ?? []), { event }]);
      }
      for (const { event } of due) this.apply(revision, event);
      for (const { key } of shard < 0 ? locator.endsAt(revision) : []) {
        const name = textOf(key);
        const before = this.at(name, revision);
        assert.ok(before !== undefined, `a move ends ${name} at ${revision}, which is not there`);
        this.apply(revision, {
          key: name,
          item: undefined,
          before: undefined,
          origin: { by: "lease", lease: before.lease },
        });
      }
    }
  }

  /** The key at a revision. */
  at(key: string, revision: number): Seen | undefined {
    return this.versions.get(key)?.findLast(({ at }) => at <= revision)?.item;
  }

  range(from: string, to: string, revision: number): Seen[] {
    return [...this.versions.keys()]
      .filter((key) => key >= from && key < to)
      .sort()
      .flatMap((key) => this.at(key, revision) ?? []);
  }

  /** The placement at the end of the log. */
  get placement() {
    return this.fold.placement.snapshot();
  }

  private checkOrigin({ key, item, origin }: ShardEvent, revision: number, at: number | undefined): void {
    const text = `${origin.by} ${item === undefined ? "deletes" : "puts"} ${key} at ${revision}`;
    if (origin.by === "client") {
      // A deletion of a range also hits copies. Their deletions must not count.
      const isRange = this.world.ranges.has(origin.operation);
      if (!isRange || at !== undefined)
        assert.equal(at, revision, `a client's write does not count: ${text}`);
    } else if (origin.by === "mover") assert.equal(at, undefined, `a copy counts: ${text}`);
  }

  private apply(revision: number, { key, item, origin }: ShardEvent): void {
    const before = this.at(key, revision);
    if (item === undefined) {
      assert.ok(before !== undefined, `${origin.by} deletes ${key} at ${revision}, which is not there`);
      if (origin.by === "lease") {
        assert.ok(
          this.world.ended.has(before.lease),
          `${key} ends with the lease ${before.lease}, which has not ended`,
        );
      }
    }
    const seen =
      item === undefined
        ? undefined
        : {
            key,
            value: item.value,
            create: before?.create ?? revision,
            mod: revision,
            version: (before?.version ?? 0) + 1,
            lease: item.lease,
          };
    const versions = this.versions.get(key) ?? [];
    versions.push({ at: revision, item: seen });
    this.versions.set(key, versions);
    const events = this.events.get(revision) ?? [];
    events.push({ revision, key, item: seen, before });
    this.events.set(revision, events);
  }
}

/** Folds the whole log over all its hosts, as if nothing had been compacted. */
function foldAll(world: World): StoreFold {
  let fold = keepAll(world.firstFold());
  let host = world.firstHost;
  for (let term = 1; ; term++) {
    let next: number | undefined;
    let begun = false;
    for (const { revision, events } of logChanges(world.cluster(host), 2)) {
      const stored = events.find(({ key, item }) => key === BASE && item !== undefined)?.item;
      const base = stored && (JSON.parse(stored.value) as { term: number; next?: number });
      begun ||= base?.term === term;
      if (!begun) continue;
      for (const { key, item } of events) {
        if (item === undefined || !key.startsWith(ENTRIES)) continue;
        const entry = decodeEntry(Buffer.from(item.value, "latin1"));
        const { position } = fold.apply(entry, revision);
        if (entry.change?.kind === "done" && position > 0) checkClean(world, fold);
      }
      fold.hide(revision);
      if (base?.next === undefined) continue;
      fold = keepAll(fold.rehosted(base.next, revision));
      next = base.next;
      break;
    }
    if (next === undefined) return fold;
    host = next;
  }
}

/** At the end of a plan, no shard holds keys of others, at the revision of that end. */
function checkClean(world: World, fold: StoreFold): void {
  const { inForce, shards } = fold.placement.snapshot();
  const router = world.maps.router(inForce, shards);
  for (const index of fold.store.timeline.cut.keys()) {
    for (const { key } of world.shards[index].stateAt(fold.cutAt(fold.head, index))) {
      if (key < "\x01") continue;
      assert.equal(
        router.shardOf(bytesOf(key)),
        index,
        `shard ${index} holds ${key} of another at ${fold.head}, after the plan`,
      );
    }
  }
}

function keepAll(fold: StoreFold): StoreFold {
  fold.placement.compact = () => {};
  return fold;
}
