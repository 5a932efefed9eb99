import { genLimit } from "../../../src/reshard/gen.js";
import type { KeyRange, Locator } from "../../../src/reshard/locator.js";
import type { StoreFold } from "../../../src/timeline/storeFold.js";
import { SimLog } from "./log.js";
import { type Faults, Lost, Network } from "./network.js";
import { Compacted, type Compare, LeaseNotFound, type Op, type SimShard, type TxnAnswer } from "./shard.js";
import { after, bytesOf, GEN, rangeOf, type Seen, translate, type World } from "./world.js";

/** The error that a client gets for a call that is not allowed. */
export class Refused extends Error {}

export interface Answer {
  readonly revision: number;
  readonly wrote: boolean;
  readonly items: readonly Seen[];
  readonly before?: Seen | undefined;
  readonly succeeded?: boolean;
}

/** A proxy that serves clients while keys move. */
export class SimProxy {
  readonly network: Network;
  readonly log: SimLog;
  /** Resolves when the proxy dies. */
  readonly death: Promise<void>;
  private dies: () => void = () => {};

  constructor(
    readonly world: World,
    readonly name: string,
    faults: Faults,
    host: number,
  ) {
    this.network = new Network(world.scheduler, world.random, faults);
    this.log = new SimLog(world, this.network, name, host);
    this.death = new Promise((resolve) => {
      this.dies = resolve;
    });
  }

  kill(): void {
    this.network.alive = false;
    this.dies();
  }

  async start(): Promise<void> {
    await this.log.open();
    this.world.spawn(this.log.follow());
    this.world.spawn(this.sealer());
  }

  get fold(): StoreFold {
    return this.log.fold;
  }

  get locator(): Locator {
    return this.world.locator(this.log.fold);
  }

  shard(index: number): SimShard {
    return this.world.shards[index];
  }

  /** A linearizable read of one key. */
  async get(key: string): Promise<Answer> {
    const range = rangeOf(key, after(key));
    for (;;) {
      await this.whenThawed(range);
      const index = this.locator.shardOf(bytesOf(key));
      const shard = this.shard(index);
      const read = this.network.retry(() => ({
        revision: shard.revision,
        items: shard.range(key, after(key)),
      }));
      const end = this.world.breaks("read the log's end") ? undefined : this.log.sync();
      const [answer] = await Promise.all([read, end]);
      await this.log.seal(index, answer.revision);
      const revision = this.fold.readRevision(index, answer.revision);
      if (!this.mayAnswer(range, index, answer.revision, revision)) continue;
      return { revision, wrote: false, items: answer.items.map((item) => translate(this.fold, index, item)) };
    }
  }

  /** Reads a range at the revision `at`, or at the head when it is 0. Throws `Refused` for a compacted revision. */
  async scan(from: string, to: string, at = 0): Promise<Answer> {
    const range = rangeOf(from, to);
    for (;;) {
      await this.log.sync();
      const revision = at === 0 ? this.fold.head : at;
      if (revision < this.fold.compactRevision) throw new Refused("compacted");
      if (this.locator.decidedUntil(range) < revision && !this.world.breaks("scans wait for a frozen step")) {
        await this.whenThawed(range);
        continue;
      }
      const parts = await this.readParts(range, from, to, revision);
      if (parts !== undefined) return { revision, wrote: false, items: parts };
      if (at !== 0) throw new Refused("compacted");
    }
  }

  private async readParts(range: KeyRange, from: string, to: string, revision: number) {
    const holders = this.locator.holders(range, revision);
    try {
      const parts = await Promise.all(
        holders.map(async (holder) => {
          const shard = this.shard(holder.shard);
          return { holder, items: await this.network.retry(() => shard.range(from, to, holder.at)) };
        }),
      );
      // A response from below the compaction cannot be judged: moves that matter may be forgotten.
      if (revision < this.fold.compactRevision) return undefined;
      return parts
        .flatMap(({ holder, items }) =>
          items
            .filter(
              ({ key }) => key >= "\x01" && this.locator.choose(holders, bytesOf(key), revision) === holder,
            )
            .map((item) => translate(this.fold, holder.shard, item)),
        )
        .sort((a, b) => (a.key < b.key ? -1 : 1));
    } catch (error) {
      if (!(error instanceof Compacted)) throw error;
      await this.log.sync();
      if (this.fold.compactRevision <= revision)
        throw new Error(`a shard has forgotten what is needed for ${revision}`);
      return undefined;
    }
  }

  async put(operation: number, key: string, value: string, lease: number): Promise<Answer> {
    const op: Op = { kind: "put", key, value, lease };
    for (;;) {
      const sent = await this.write(operation, [key], lease, [], [op]);
      if (sent === undefined) continue;
      const { index, answer, fold } = sent;
      const [before] = answer.items.map((item) => translate(fold, index, item));
      return { revision: this.written(index, answer), wrote: true, items: [], before };
    }
  }

  /** Puts keys in one transaction. Throws `Refused` when they are on several shards. */
  async putAll(operation: number, keys: readonly string[], value: string): Promise<Answer> {
    const ops = keys.map((key): Op => ({ kind: "put", key, value }));
    for (;;) {
      const sent = await this.write(operation, keys, 0, [], ops);
      if (sent !== undefined)
        return { revision: this.written(sent.index, sent.answer), wrote: true, items: [] };
    }
  }

  /** Deletes one key. */
  async remove(operation: number, key: string): Promise<Answer> {
    const range = rangeOf(key, after(key));
    for (;;) {
      const sent = await this.write(operation, [key], 0, [], [{ kind: "delete", from: key }]);
      if (sent === undefined) continue;
      const { index, answer, fold } = sent;
      const [before] = answer.items.map((item) => translate(fold, index, item));
      if (answer.changed) return { revision: this.written(index, answer), wrote: true, items: [], before };
      const revision = await this.asRead(range, index, answer);
      if (revision !== undefined) return { revision, wrote: false, items: [] };
    }
  }

  /** Deletes the keys of a range, with one transaction per shard. */
  async removeRange(operation: number, from: string, to: string): Promise<Answer> {
    const range = rangeOf(from, to);
    let newest = 0;
    const items: Seen[] = [];
    for (let again = true; again; ) {
      await this.whenThawed(range);
      const { position } = this.log;
      const parts = this.locator.shardsOf(range).map(async (index) => {
        const shard = this.shard(index);
        const answer = await this.network.call(() =>
          shard.txn(
            { guard: [genAtMost(position)], success: [{ kind: "delete", from, to }] },
            { by: "client", operation },
          ),
        );
        if (!answer.changed) return answer.guarded;
        await this.log.seal(index, answer.revision);
        const revision = this.written(index, answer);
        const counted = answer.items.filter(
          ({ key }) => this.locator.countsAt(bytesOf(key), index, answer.revision, revision) === revision,
        );
        items.push(...counted.map((item) => translate(this.fold, index, item)));
        if (counted.length > 0) newest = Math.max(newest, revision);
        return answer.guarded;
      });
      // Keys of a refusing shard may have moved to one that is done. So repeat all shards.
      again = (await Promise.all(parts)).includes(false);
      if (again) await this.log.sync();
    }
    if (newest > 0) return { revision: newest, wrote: true, items };
    await this.log.sync();
    return { revision: this.fold.head, wrote: false, items };
  }

  /** Puts the key if its mod revision is `expected`, otherwise reads it. */
  async swap(operation: number, key: string, expected: number, value: string): Promise<Answer> {
    const range = rangeOf(key, after(key));
    for (;;) {
      if (expected > this.fold.head) await this.log.sync();
      await this.whenThawed(range);
      const index = this.locator.shardOf(bytesOf(key));
      const mods = expected === 0 ? [0] : this.fold.shardRevisionsOf(expected, index);
      let mod = mods.length > 0 ? mods[0] : IMPOSSIBLE;
      if (mods.length > 1 && !this.world.breaks("compares know all twins")) {
        const shard = this.shard(index);
        const found = (await this.network.retry(() => shard.get(key)))?.mod ?? 0;
        mod = mods.includes(found) ? found : IMPOSSIBLE;
        if (this.locator.shardOf(bytesOf(key)) !== index) continue;
      }
      const sent = await this.write(
        operation,
        [key],
        0,
        [{ key, mod }],
        [{ kind: "put", key, value }],
        index,
      );
      if (sent === undefined) continue;
      const { answer, fold } = sent;
      if (answer.succeeded) {
        const [before] = answer.items.map((item) => translate(fold, index, item));
        return { revision: this.written(index, answer), wrote: true, items: [], before, succeeded: true };
      }
      const revision = await this.asRead(range, index, answer);
      if (revision === undefined) continue;
      const items = answer.items.map((item) => translate(this.fold, index, item));
      return { revision, wrote: false, items, succeeded: false };
    }
  }

  /** Logs a compaction and compacts the shards. */
  async compact(revision: number): Promise<void> {
    await this.log.append({ compact: revision });
    this.world.compacted = Math.max(this.world.compacted, this.fold.compactRevision);
    const at = this.world.breaks("compactions spare what a step needs")
      ? this.fold.compactRevision
      : this.locator.compactionAt(this.fold.compactRevision);
    for (const [index, shard] of this.world.shards.entries()) {
      if (index >= this.fold.store.timeline.cut.length) continue;
      const shardRevision = this.fold.lastAt(at, index);
      await this.network.retry(() => shard.compact(shardRevision));
    }
  }

  /** Logs the home of a lease and grants it there. */
  async grant(lease: number): Promise<void> {
    const home = this.locator.router(this.fold.placement.snapshot().inForce).homeOf(BigInt(lease));
    await this.log.appendRepeatedly({ leases: [{ kind: "place", lease: BigInt(lease), shard: home }] });
    await this.network.retry(() => this.shard(home).grant(lease));
  }

  /** Ends all parts of a lease. Afterwards none of its keys is left. */
  async endLease(lease: number): Promise<Answer> {
    this.world.ended.add(lease);
    for (;;) {
      await this.log.sync();
      const parts = [...(this.fold.placements.get(BigInt(lease)) ?? [])];
      let again = false;
      for (const index of parts) {
        const shard = this.shard(index);
        const revision = await this.network.retry(() => {
          // Set even when the response is lost.
          if (shard.endLease(lease)) again = true;
          return shard.revision;
        });
        await this.log.seal(index, revision);
      }
      await this.log.sync();
      if (!this.world.breaks("revocations wait for a frozen step")) {
        if (this.fold.placement.snapshot().plan?.frozen !== undefined) {
          await this.whenThawed(EVERYTHING);
          continue;
        }
      }
      const now = this.fold.placements.get(BigInt(lease));
      // A mover may have granted a part after this round checked it, and checks the source only then. So repeat until a round
      // finds no live part.
      if (this.world.breaks("a lease ends in rounds")) again = false;
      if (!again && (now === undefined || now.size === parts.length)) break;
    }
    const revision = this.fold.head;
    await this.log.appendRepeatedly({ leases: [{ kind: "unplace", lease: BigInt(lease) }] });
    return { revision, wrote: false, items: [] };
  }

  /** Grants a part of a lease on a shard. Throws `LeaseNotFound` when the lease has ended. */
  async placeLease(lease: number, index: number): Promise<void> {
    if (!this.fold.placements.get(BigInt(lease))?.has(index))
      await this.log.appendRepeatedly({ leases: [{ kind: "place", lease: BigInt(lease), shard: index }] });
    await this.network.retry(() => {
      if (this.world.ended.has(lease)) throw new LeaseNotFound();
      this.shard(index).grant(lease);
    });
  }

  /** Resolves when calls to the range no longer wait. */
  whenThawed(range: KeyRange): Promise<void> {
    return this.log.until(() => !this.isFrozen(range));
  }

  private isFrozen(range: KeyRange): boolean {
    return this.locator.isFrozen(range) && !this.world.breaks("calls wait for a frozen step");
  }

  /** Runs one transaction on the keys' shard. Undefined when the shard must be chosen again. */
  private async write(
    operation: number,
    keys: readonly string[],
    lease: number,
    compares: readonly Compare[],
    success: readonly Op[],
    only?: number,
  ): Promise<{ index: number; answer: TxnAnswer; fold: StoreFold } | undefined> {
    // Another key may freeze during each wait.
    while (keys.some((key) => this.isFrozen(rangeOf(key, after(key)))))
      for (const key of keys) await this.whenThawed(rangeOf(key, after(key)));
    const index = this.locator.shardOf(bytesOf(keys[0]));
    if (keys.some((key) => this.locator.shardOf(bytesOf(key)) !== index)) throw new Refused("several shards");
    if (only !== undefined && index !== only) return undefined;
    if (lease !== 0 && !this.fold.placements.get(BigInt(lease))?.has(index)) {
      await this.placeLease(lease, index);
      return undefined;
    }
    const { position } = this.log;
    const shard = this.shard(index);
    const guard = this.world.breaks("every write compares gen") ? [] : [genAtMost(position)];
    // Puts without a lease carry their entry, now and then, whatever the load.
    const isPut = lease === 0 && compares.length === 0 && success.every(({ kind }) => kind === "put");
    const entry = isPut && this.world.random.chance(0.5) ? this.log.carried(index) : undefined;
    if (entry !== undefined) {
      const answer = await this.network.call(() =>
        shard.txn(
          { guard: [...guard, ...entry.guard], success: [...success, ...entry.success] },
          { by: "client", operation },
        ),
      );
      if (answer.guarded) {
        this.world.carried++;
        void this.log.pull();
        await this.log.seal(index, answer.revision, true);
        const items = answer.items.filter(({ key }) => key >= "\x01");
        return { index, answer: { ...answer, items }, fold: this.fold };
      }
    }
    const failure: Op[] = [{ kind: "get", key: keys[0] }];
    let answer: TxnAnswer;
    try {
      answer = await this.network.call(() =>
        shard.txn({ guard, compares, success, failure }, { by: "client", operation }),
      );
    } catch (error) {
      if (!(error instanceof LeaseNotFound) || lease === 0) throw error;
      // Another proxy has placed the lease but not granted it yet, or the lease has ended.
      await this.placeLease(lease, index);
      return undefined;
    }
    if (!answer.guarded) {
      await this.log.sync();
      return undefined;
    }
    await this.log.seal(index, answer.revision);
    return { index, answer, fold: this.fold };
  }

  /** The revision of a write. Throws `Lost` when a compaction has passed it. */
  private written(index: number, { revision }: TxnAnswer): number {
    const known = this.fold.toRevision(index, revision);
    if (known < this.fold.compactRevision) throw new Lost();
    return known;
  }

  /** The header's revision for a write that changed nothing. Undefined when the call must be repeated. */
  private async asRead(range: KeyRange, index: number, answer: TxnAnswer): Promise<number | undefined> {
    await this.log.sync();
    const revision = this.fold.readRevision(index, answer.revision);
    return this.mayAnswer(range, index, answer.revision, revision) ? revision : undefined;
  }

  /** True when a response of the shard at `shardRevision` is the key's state at `revision`. */
  private mayAnswer(range: KeyRange, index: number, shardRevision: number, revision: number): boolean {
    if (this.world.breaks("reads are judged")) return true;
    if (revision < this.fold.compactRevision) return false;
    if (this.locator.decidedUntil(range) < revision) return false;
    const { shard, at } = this.locator.holder(range.key, revision);
    return shard === index && (at >= shardRevision || this.world.breaks("reads stop at stop"));
  }

  /** Seals shards in the background. */
  private async sealer(): Promise<void> {
    for (;;) {
      await this.network.sleep(30 + this.world.random.below(60));
      const count = this.fold.store.timeline.cut.length;
      const index = this.world.random.below(count);
      const revision = await this.network.retry(() => this.shard(index).revision);
      await this.log.seal(index, revision);
    }
  }
}

const IMPOSSIBLE = -1;
const EVERYTHING = rangeOf("\x01", "\0");

export const genAtMost = (position: number): Compare => ({ key: GEN, valueBelow: genLimit(position) });
