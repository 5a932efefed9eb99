import { type Bound, compareBounds } from "../reshard/bound.js";
import { compareBytes } from "../routing/bytes.js";
import { keyAfter } from "../shard/rangeReader.js";
import type { KeyValue } from "../wire/messages.js";
import { deletions } from "./batches.js";
import { Copying, nameOf } from "./copying.js";
import { GivenUp } from "./givenUp.js";
import { SHARES } from "./pace.js";
import { nextOf } from "./pages.js";
import type { MoverOp, Page } from "./shard.js";
import { compareLimits } from "./windows.js";

/** Rounds of catching up before a freeze. More do not help when a source changes faster than it is copied. */
const MAX_ROUNDS = 20;
/** A round with at most this many changes is the last one: they take little time in the freeze. */
const FEW_CHANGES = 20;
/** Suspects compared at the same time. */
const SUSPECTS_AT_ONCE = 32;

/**
 * Compares the copies of a step with their sources and repairs them: first all copies, then only the suspects. These are keys
 * that anything but the mover has changed on a destination since, and keys whose import was incomplete.
 */
export class Comparing extends Copying {
  /**
   * Compares all copies with their sources, and copies differences again: number, keys, values, revisions, versions and
   * leases. Then drops the twins that no copy refers to.
   */
  protected async verify(): Promise<void> {
    this.suspects.clear();
    const begun = new Map<number, number>();
    for (const [index, target] of this.targets) {
      const revision = await this.deps.shardOf(index).revision();
      begun.set(index, revision);
      target.changes = this.deps.shardOf(index).changes(revision + 1);
    }
    const live = new Map([...this.targets.keys()].map((index) => [index, new Set<number>()]));
    for (let next: Bound | undefined = this.from; next !== undefined; ) {
      this.checkpoint();
      next = await this.verifyFrom(next, (index, { createRevision, modRevision }) =>
        live.get(index)?.add(createRevision).add(modRevision),
      );
    }
    for (const [index, { imports }] of this.targets) imports.prune(begun.get(index)!, live.get(index)!);
  }

  /** Compares the keys from `from` on, as many as are compared at once. Returns where the next ones begin. */
  private async verifyFrom(
    from: Bound,
    visit: (index: number, copy: KeyValue) => void,
  ): Promise<Bound | undefined> {
    const limits = compareLimits(this.deps.options);
    const windows = await Promise.all(
      this.sources.map(async (index) => ({ index, window: await this.readWindow(index, from, limits) })),
    );
    const [next] = windows.flatMap(({ window }) => window.next ?? []).sort(compareBytes);
    const to = next ?? this.to;
    const wanted = new Map<string, { index: number; item: KeyValue }>();
    await this.together(
      windows.map(async ({ index, window: { kvs, revision } }) => {
        // Now the copies are of the same revision as the window.
        await this.catchUp(index, revision, this.to);
        await this.deps.log.seal(index, revision, true);
        for (const item of kvs)
          if (compareBounds(item.key, to) < 0) wanted.set(nameOf(item.key), { index, item });
      }),
    );
    await this.pipeline.drain();
    await this.deps.pace.take(wanted.size, SHARES.compare);
    const found: { index: number; copy: KeyValue }[] = [];
    await this.together(
      [...this.targets.keys()].map(async (index) => {
        for (let at: Bound | undefined = from; at !== undefined; ) {
          const page: Page = await this.readPage(index, at, to);
          this.reached(index, page.revision);
          for (const copy of page.kvs) if (this.isFor(copy.key, index)) found.push({ index, copy });
          at = nextOf(page);
        }
      }),
    );
    for (const { index, copy } of found) visit(index, copy);
    await this.repair(wanted, found);
    // Otherwise what others have changed on the destinations so far would be left for the freeze.
    await this.followTargets();
    return next;
  }

  /** Notes a shard revision that a destination has reached. */
  private reached(index: number, revision: number): void {
    const target = this.target(index);
    target.newest = Math.max(target.newest, revision);
  }

  /** Makes the copies `found` equal to `wanted`, the same keys on the sources. */
  private async repair(
    wanted: Map<string, { readonly index: number; readonly item: KeyValue }>,
    found: readonly { readonly index: number; readonly copy: KeyValue }[],
  ): Promise<void> {
    const again = new Map(wanted);
    const wrong = new Map<number, KeyValue[]>();
    for (const { index, copy } of found) {
      const name = nameOf(copy.key);
      const original = wanted.get(name);
      if (original !== undefined && this.isEqual(index, copy, original.index, original.item))
        again.delete(name);
      else wrong.set(index, [...(wrong.get(index) ?? []), copy]);
    }
    for (const [index, copies] of wrong) {
      const runs = copies.map(({ key }) => ({ key, end: undefined, keys: 1 }));
      for (const group of deletions(runs, this.deps.options)) {
        const ops = group.map(({ key }): MoverOp => ({ kind: "delete", key }));
        const { succeeded } = await this.importing(index, { ops });
        if (!succeeded) throw new GivenUp("another mover has taken over");
      }
    }
    for (const source of this.sources) {
      const items = [...again.values()].flatMap(({ index, item }) => (index === source ? [item] : []));
      await this.import(
        source,
        items.filter(({ key }) => !this.ended.has(nameOf(key))),
      );
    }
    await this.pipeline.drain();
  }

  private isEqual(target: number, copy: KeyValue, source: number, item: KeyValue): boolean {
    const { log } = this.deps;
    const { imports } = this.target(target);
    return (
      imports.revisionOf(copy.createRevision) === log.toRevision(source, item.createRevision) &&
      imports.revisionOf(copy.modRevision) === log.toRevision(source, item.modRevision) &&
      copy.version + imports.offsetOf(copy.createRevision) ===
        item.version + log.versionOffset(source, item.createRevision) &&
      copy.lease === item.lease &&
      compareBytes(copy.value, item.value) === 0
    );
  }

  /** Finds what others have changed on the destinations so far. */
  private async refreshTargets(): Promise<void> {
    await this.together(
      [...this.targets.keys()].map(async (index) =>
        this.reached(index, await this.deps.shardOf(index).revision()),
      ),
    );
    await this.followTargets();
  }

  /**
   * Finds the keys that others have changed on the destinations up to `newest`: by ends of leases, and by deletions of ranges.
   */
  protected async followTargets(): Promise<void> {
    for (const [index, target] of this.targets) {
      const { changes, newest, own } = target;
      if (changes === undefined) continue;
      for (let next = await changes.next(newest); next.length > 0; next = await changes.next(newest)) {
        for (const { revision, kvs } of next) {
          if (own.delete(revision)) continue;
          for (const { key } of kvs) if (this.isFor(key, index)) this.suspectChanged(key);
        }
      }
    }
  }

  /** Marks a key that something other than the mover has changed on a destination. It is compared before the move. */
  protected suspectChanged(key: Uint8Array): void {
    this.suspects.set(nameOf(key), key);
  }

  /** Compares the suspects, and copies those that differ again. */
  protected async checkSuspects(): Promise<void> {
    if (this.suspects.size === 0) return;
    const { log, shardOf } = this.deps;
    const keys = [...this.suspects.values()];
    this.suspects = new Map();
    for (const index of this.sources) await log.seal(index, this.copiedTo(index), true);
    const read = async (index: number, key: Uint8Array, revision: number) => {
      const page = await shardOf(index).range({ from: key, to: keyAfter(key), limit: 1, revision });
      return page.kvs[0];
    };
    const wanted = new Map<string, { index: number; item: KeyValue }>();
    const found: { index: number; copy: KeyValue }[] = [];
    for (let at = 0; at < keys.length; at += SUSPECTS_AT_ONCE) {
      const compared = keys.slice(at, at + SUSPECTS_AT_ONCE).map(async (key) => {
        const [source, target] = [this.sourceOf(key), this.targetOf(key)];
        const [item, copy] = await Promise.all([
          read(source, key, this.copiedTo(source)),
          read(target, key, this.target(target).newest),
        ]);
        if (item !== undefined) wanted.set(nameOf(key), { index: source, item });
        if (copy !== undefined) found.push({ index: target, copy });
      });
      await Promise.all(compared);
    }
    await this.repair(wanted, found);
  }

  /** Catches up until little is left for the freeze. */
  protected async settle(): Promise<void> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      this.checkpoint();
      const count = await this.catchUpAll();
      await this.refreshTargets();
      await this.checkSuspects();
      if (count <= FEW_CHANGES && this.suspects.size === 0) return;
    }
  }
}
