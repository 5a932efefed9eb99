import assert from "node:assert/strict";
import type { Router } from "../../src/routing/router.js";
import { Code, StatusError } from "../../src/status/error.js";
import { FilterType } from "../../src/wire/messages.js";
import { SimEtcd } from "../timeline/sim/etcd.js";
import type { Faults } from "../timeline/sim/network.js";
import { Random, Scheduler } from "../timeline/sim/scheduler.js";
import { type Fate, LeaseHolder, type LeaseRecord } from "./holder.js";
import type { LinkFaults } from "./link.js";
import { SimProxy } from "./proxy.js";
import { type ShardEvent, SimShard } from "./shard.js";
import { describe, WatchClient } from "./watcher.js";

export interface Scenario {
  readonly seed: number;
  readonly shards: number;
  readonly proxies: number;
  /** Index of the shard that is the timeline host; -1: a cluster of its own. */
  readonly host: number;
  /** How long clients work, ms. */
  readonly duration: number;
  readonly faults: LinkFaults;
  readonly hostFaults: Faults;
  /** Chance, each 100 ms, that a proxy dies or stops. */
  readonly crash: number;
  /** Chance, each 100 ms, that a proxy pauses. */
  readonly pause: number;
  /** Chance, each 100 ms, that a shard freezes for a while. */
  readonly freeze: number;
  /** Chance, each 100 ms, that a part of a lease is revoked past the proxies. */
  readonly strike: number;
  /** Chance, each 100 ms, of a compaction. */
  readonly compact: number;
  readonly watchers: number;
  readonly holders: number;
  readonly dropsTombstones: boolean;
  /** At the end, a shard may lose data or come back as another cluster. */
  readonly loss: "none" | "restored" | "exchanged";
}

/** An event of the store. */
export interface Truth {
  readonly revision: number;
  readonly event: ShardEvent;
  /** True if an etcd may omit it, see `SimShard.silent`. */
  readonly mayLack?: boolean;
}

/** Letters of keys; each lives on one shard. */
const LETTERS = "abcdef";
/**
 * How long parts of a lease may outlive the first one that ended, without faults: two pauses between sweeps, the sweep's
 * calls, and those of the ending.
 */
const END_BOUND_MS = 3_000;
/** Age at which every proxy has seen a part, ms. Younger parts are not revoked past the proxies. */
const SEEN_AFTER_MS = 2_500;
/** Age that a renewal may have at its shard, including one of another client with which it shares a response. */
const SHARED_MS = 200;
/** What a proxy logs about a shard that it refuses. */
const REFUSED = /lost data|is the etcd cluster/;
/** How long everything may take to settle after the last fault, ms. */
const SETTLE_TIMEOUT_MS = 60_000;

/** A store in virtual time, and what must hold in it. */
export class World {
  readonly scheduler = new Scheduler();
  readonly random: Random;
  readonly shards: readonly SimShard[];
  readonly host: SimEtcd;
  readonly router: Router;
  readonly leases = new Map<bigint, LeaseRecord>();
  /** Previous keys that watchers got. Their revisions are checked at the end. */
  readonly previous: { readonly key: string; readonly revision: number; readonly mod: number }[] = [];
  /** Revisions at which clients have compacted the store. */
  private readonly compactions = new Set<number>();
  /** Number of faults. */
  disturbances = 0;
  /** Time until which some proxy may have been blind to a shard, ms. */
  troubledUntil = 0;
  /** Number of events that excuse the end of a lease while it is being placed. */
  upheavals = 0;
  /** The shard and shard revision of each revision. All proxies must agree. */
  private readonly oracle = new Map<number, string>();
  private readonly revisions = new Map<string, number>();
  private proxies: SimProxy[] = [];
  private readonly watchers: WatchClient[] = [];
  private readonly holders: LeaseHolder[] = [];
  /** True if no faults happen other than those counted as disturbances. */
  private readonly isFaultless: boolean;
  private failed: unknown;
  private started = 0;
  private working = true;
  /** Proxies that clients use once they must do without those that are away. */
  private loss: { readonly shard: SimShard; readonly cuts: ReadonlyMap<SimProxy, number> } | undefined;

  constructor(readonly scenario: Scenario) {
    const { seed, shards, host, dropsTombstones } = scenario;
    this.random = new Random(seed);
    const { faults, hostFaults } = scenario;
    this.isFaultless = faults.cut + faults.mute + faults.slow + hostFaults.loss + hostFaults.cut === 0;
    this.shards = Array.from(
      { length: shards },
      (_, index) => new SimShard(this.scheduler, this.random, index, dropsTombstones),
    );
    for (const shard of this.shards)
      shard.onLeaseEnd = (lease, cause) => this.leaseEnded(shard, lease, cause);
    this.host = host < 0 ? new SimEtcd() : this.shards[host]!.store;
    const shardsOf = (key: Uint8Array, rangeEnd: Uint8Array) => this.shardsOf(key, rangeEnd);
    this.router = {
      shardCount: shards,
      shardOf: (key) => this.shardOf(Buffer.from(key).toString()),
      shardsOf,
      homeOf: (lease) => this.homeOf(lease),
    };
  }

  async run(): Promise<void> {
    const { scenario, scheduler } = this;
    for (let n = 0; n < scenario.proxies; n++) this.startProxy(n);
    await this.until(() => this.proxies.every(({ isReady }) => isReady), 60_000, "the proxies start");
    this.work();
    await this.until(() => !this.working, scenario.duration + 60_000, "the clients' work ends");
    await this.settle();
    if (scenario.loss !== "none") await this.loseData();
    // No timer may run while the world is being checked.
    for (const proxy of this.proxies) proxy.clock.isAlive = false;
    if (this.failed !== undefined) throw this.failed;
    assert.ok(scheduler.now > 0);
  }

  fail(reason: unknown): void {
    this.failed ??= reason;
  }

  shardOf(key: string): number {
    return LETTERS.indexOf(key[0]!) % this.scenario.shards;
  }

  homeOf(lease: bigint): number {
    return Number(lease % BigInt(this.scenario.shards));
  }

  anyKey(): string {
    return `${LETTERS[this.random.below(LETTERS.length)]}${this.random.below(3)}`;
  }

  /** Returns a random proxy that takes calls; undefined while there is none. */
  anyProxy(): SimProxy | undefined {
    const ready = this.proxies.filter(({ isReady }) => isReady);
    return ready.length === 0 ? undefined : this.random.pick(ready);
  }

  /** Runs a call on some proxy. Rejects if it takes too long or the proxy dies. */
  async by<T>(act: (proxy: SimProxy) => Promise<T>): Promise<T> {
    const proxy = this.anyProxy();
    const gone = new StatusError(Code.UNAVAILABLE, "simulated: no answer from the proxy");
    if (proxy === undefined) throw gone;
    return new Promise((resolve, reject) => {
      this.scheduler.after(8_000, () => reject(gone));
      proxy.clock.after(this.random.below(5), () => {
        const acting = proxy.isReady ? act(proxy) : Promise.reject(gone);
        acting.then(resolve, (error) => {
          if (!(error instanceof StatusError)) this.fail(error);
          reject(error);
        });
      });
    });
  }

  /** To be called by each proxy for each revision that it knows. */
  see(revision: number, shard: number, shardRevision: number): void {
    const name = `${shard} ${shardRevision}`;
    const known = this.oracle.get(revision);
    if (known === undefined) {
      assert.ok(!this.revisions.has(name), `shard revision ${name} has two revisions`);
      this.oracle.set(revision, name);
      this.revisions.set(name, revision);
    } else assert.equal(known, name, `two proxies disagree about revision ${revision}`);
  }

  /** To be called when a proxy's write arrives at a shard. */
  wrote(proxy: SimProxy, shard: SimShard): void {
    const { loss } = this;
    if (loss?.shard !== shard) return;
    const cut = loss.cuts.get(proxy) ?? 0;
    if (shard.store.revision < cut) {
      this.fail(new Error(`${proxy.name} writes to shard ${shard.index}, which has lost data`));
    }
  }

  /** To be called when a client learns that its lease is dead. A renewal may report this only once the keys are gone. */
  saidDead(record: LeaseRecord, renewal: boolean): void {
    this.judgeEnd(record, "a client learned that it is dead");
    if (renewal && this.isCalm && this.shards.some((shard) => shard.keysOf(record.id).length > 0)) {
      this.fail(new Error(`lease ${record.id} is called dead before its keys are gone`));
    }
    record.mayEnd = true;
  }

  /** The lowest `compact_revision` that a refused watch may get now. A function, as revisions may be known only later. */
  compactionBound(): () => number {
    const logged = Math.max(...this.proxies.map(({ timeline }) => timeline.compactRevision));
    const compacted = this.shards.map(({ store }) => store.compacted);
    return () => {
      const own = compacted.map((shardRevision, shard) => {
        for (let at = shardRevision; at > 0; at--) {
          const revision = this.revisions.get(`${shard} ${at}`);
          if (revision !== undefined) return revision + 1;
        }
        return 0;
      });
      return Math.max(logged, ...own);
    };
  }

  private get isCalm(): boolean {
    return this.isFaultless && this.disturbances === 0;
  }

  private shardsOf(key: Uint8Array, rangeEnd: Uint8Array): readonly number[] {
    const begin = Buffer.from(key).toString("latin1");
    const end = Buffer.from(rangeEnd).toString("latin1");
    if (end === "") return [this.shardOf(begin)];
    const letters = [...LETTERS].filter(
      (letter) => `${letter}\uffff` > begin && (end === "\0" || letter < end),
    );
    return [...new Set(letters.map((letter) => this.shardOf(letter)))].sort((a, b) => a - b);
  }

  private startProxy(index: number): void {
    this.proxies[index] = new SimProxy(this, `p${index}-${this.started++}`);
  }

  private work(): void {
    const { scenario, scheduler, random } = this;
    const end = scheduler.now + scenario.duration;
    for (let n = 0; n < scenario.watchers; n++) {
      scheduler.after(random.below(scenario.duration), () => this.addWatcher());
    }
    for (let n = 0; n < scenario.holders; n++) {
      scheduler.after(random.below(scenario.duration / 2), () => this.addHolder());
    }
    const write = () => {
      if (scheduler.now > end) {
        this.working = false;
        return;
      }
      const key = this.anyKey();
      // Sometimes a burst, for which watchers share responses.
      const count = random.chance(0.05) ? 20 : 1;
      for (let n = 0; n < count; n++) {
        this.by((proxy) => proxy.put(key, `${random.below(1_000)}`)).catch(() => undefined);
      }
      scheduler.after(random.below(200), write);
    };
    write();
    const disturb = () => {
      if (!this.working) return;
      this.disturb();
      scheduler.after(100, disturb);
    };
    disturb();
  }

  private addWatcher(): void {
    const { random } = this;
    const letter = random.below(LETTERS.length);
    const [key, end] = random.pick([
      ["\0", "\0"],
      [LETTERS[letter]!, String.fromCharCode(LETTERS.charCodeAt(letter) + 1)],
      [LETTERS[letter]!, "\0"],
      [this.anyKey(), ""],
    ] as const);
    const head = Math.max(1, this.oracle.size);
    const from = random.pick([0, 0, 0, 1 + random.below(head), 2, head + 5]);
    const wanted = {
      key,
      end,
      prevKv: random.chance(0.3),
      fragment: random.chance(0.3),
      filters: random.pick([[], [], [], [FilterType.NOPUT], [FilterType.NODELETE]]),
      slow: random.chance(0.2),
    };
    this.watchers.push(new WatchClient(this, wanted, from));
  }

  private addHolder(): void {
    const { random, scenario } = this;
    const fate: Fate = random.pick(["revoke", "lapse", "keep"] as const);
    this.holders.push(new LeaseHolder(this, 2 + random.below(4), random.below(scenario.duration), fate));
  }

  private disturb(): void {
    const { random, scenario, proxies, shards } = this;
    const hit = (chance: number) => random.chance(chance);
    if (hit(scenario.crash)) {
      const index = random.below(proxies.length);
      if (random.chance(0.5)) proxies[index]!.crash();
      else proxies[index]!.stop();
      this.startProxy(index);
      this.disturbed(0);
    }
    if (hit(scenario.pause)) {
      const ms = random.below(4_000);
      random.pick(proxies).clock.stop(ms);
      this.disturbed(ms);
    }
    if (hit(scenario.freeze)) {
      const ms = random.below(3_000);
      const shard = random.pick(shards);
      shard.frozenUntil = this.scheduler.now + ms;
      this.disturbed(ms);
    }
    if (scenario.faults.cut > 0 && hit(scenario.faults.cut)) {
      random.pick(random.pick(proxies).links).break(random.below(2_000));
    }
    if (hit(scenario.strike)) this.strike();
    if (hit(scenario.compact)) this.compactSomething();
    if (hit(0.1) && this.watchers.length > 0) random.pick(this.watchers).askProgress();
    if (hit(0.02) && this.watchers.length > 0) random.pick(this.watchers).move();
  }

  /** Revokes a part of a lease past the proxies. */
  private strike(): void {
    const shard = this.random.pick(this.shards);
    const known = [...this.leases.values()].filter(({ id }) => shard.ageOf(id) > SEEN_AFTER_MS);
    if (known.length === 0) return;
    const record = this.random.pick(known);
    record.mayEnd = true;
    shard.end(record.id, "revoked");
  }

  private compactSomething(): void {
    const { random } = this;
    if (random.chance(0.7)) {
      const prunes = random.chance(0.3);
      this.by(async (proxy) => {
        const revision = proxy.timeline.head - random.below(30);
        this.compactions.add(revision);
        await proxy.compact(revision);
        if (prunes) await proxy.prune();
      }).catch(() => undefined);
      return;
    }
    // By its own auto-compaction.
    const shard = random.pick(this.shards);
    shard.compactAt(Math.max(1, shard.store.revision - random.below(20)));
  }

  /** To be called at a fault. Placements under way may fail. */
  disturbed(ms: number): void {
    this.disturbances++;
    this.troubledUntil = Math.max(this.troubledUntil, this.scheduler.now + ms + SEEN_AFTER_MS);
    this.joined();
  }

  /** To be called when a proxy starts. It cannot know if a missing part was ever granted. */
  joined(): void {
    this.upheavals++;
    for (const record of this.leases.values()) if (record.placing > 0) record.excused = true;
  }

  private leaseEnded(shard: SimShard, lease: bigint, cause: string): void {
    const record = this.leases.get(lease);
    if (record === undefined) return;
    record.firstEnd ??= this.scheduler.now;
    this.judgeEnd(record, `it has ${cause} on shard ${shard.index}`);
    if (this.shards.every((each) => !each.hasLease(lease))) record.allGone = this.scheduler.now;
  }

  /** To be called when a lease ends, or is reported to have ended. It must not have been kept alive. */
  private judgeEnd(record: LeaseRecord, what: string): void {
    const { id, ttl, renewedAt, mayEnd, excused } = record;
    const alive = this.scheduler.now < renewedAt + ttl * 1_000 - SHARED_MS;
    if (!alive) record.mayEnd = true;
    if (mayEnd || excused || !alive) return;
    this.fail(new Error(`lease ${id} was kept alive at ${renewedAt} for ${ttl} s, but ${what}`));
  }

  /** Ends all faults. Everything must settle and be right. */
  private async settle(): Promise<void> {
    const { scenario, scheduler, proxies, holders } = this;
    const { isCalm } = this;
    Object.assign(scenario.faults, { cut: 0, lag: 0, mute: 0, slow: 0 });
    Object.assign(scenario.hostFaults, { loss: 0, cut: 0, lag: 0 });
    for (const shard of this.shards) shard.frozenUntil = 0;
    for (const proxy of proxies) {
      proxy.clock.resume();
      for (const link of proxy.links) link.downUntil = 0;
    }
    this.startProxy(proxies.length);
    await this.until(
      () => this.proxies.every(({ isReady }) => isReady),
      scheduler.now + SETTLE_TIMEOUT_MS,
      "proxies start",
    );
    // A silent watch is noticed when sealed revisions do not arrive.
    for (const letter of LETTERS) await this.quiet(this.putAnyhow(`${letter}0`));
    await this.until(
      () => this.isDelivered,
      scheduler.now + SETTLE_TIMEOUT_MS,
      () => this.undelivered(),
    );
    for (const watcher of this.watchers) watcher.checkGaps();
    await this.until(
      () => this.survivors().length === 0,
      scheduler.now + 2 * END_BOUND_MS,
      () => `leases that have lost a part live on: ${this.survivors().join(", ")}`,
    );
    await this.checkRenewals();
    // Leases that were kept alive until now expire as well.
    for (const holder of holders) holder.stop();
    await this.until(
      () => holders.every(({ done }) => done),
      scheduler.now + SETTLE_TIMEOUT_MS,
      "the holders end",
    );
    const longest = Math.max(0, ...[...this.leases.values()].map(({ ttl }) => ttl));
    await this.until(
      () => this.isEmptied,
      scheduler.now + (longest + 1) * 1_000 + 2 * END_BOUND_MS,
      () => `leases outlive their end: ${this.remaining().join(", ")}`,
    );
    await this.until(
      () => this.isDelivered && this.proxies.every(({ timeline }) => timeline.placements.size === 0),
      scheduler.now + SETTLE_TIMEOUT_MS,
      () => `placements of dead leases are forgotten; ${this.undelivered()}`,
    );
    if (isCalm) this.checkBounds();
    this.checkPrevious();
  }

  /** Puts through some proxy, and through another if that fails. */
  private async putAnyhow(key: string): Promise<void> {
    for (;;) {
      try {
        await this.by((proxy) => proxy.put(key, "calm"));
        return;
      } catch {
        await this.scheduler.sleep(100);
      }
    }
  }

  /** Checks that every proxy can renew every live lease. */
  private async checkRenewals(): Promise<void> {
    let waiting = 0;
    for (const { id, mayEnd } of this.leases.values()) {
      if (mayEnd || this.shards.every((shard) => !shard.hasLease(id))) continue;
      for (const proxy of this.proxies) {
        waiting++;
        proxy.leases.renew(id, (error) => {
          waiting--;
          if (error !== undefined) this.fail(new Error(`${proxy.name} cannot renew: ${error.message}`));
        });
      }
    }
    await this.until(() => waiting === 0, this.scheduler.now + SETTLE_TIMEOUT_MS, "keep-alives are answered");
  }

  private checkBounds(): void {
    for (const { id, firstEnd, allGone } of this.leases.values()) {
      if (firstEnd === undefined || allGone === undefined) continue;
      assert.ok(
        allGone - firstEnd <= END_BOUND_MS,
        `lease ${id} ended at ${firstEnd} ms, but its last part at ${allGone} ms`,
      );
    }
  }

  private get isEmptied(): boolean {
    return this.shards.every((shard) => shard.leaseIds.length === 0);
  }

  /** Returns leases that have lost a part and are still there. */
  private survivors(): bigint[] {
    return [...this.leases.values()]
      .filter(({ firstEnd }) => firstEnd !== undefined)
      .map(({ id }) => id)
      .filter((id) => this.shards.some((shard) => shard.hasLease(id)));
  }

  private remaining(): string[] {
    return this.shards.flatMap((shard) =>
      shard.leaseIds.map((id) => `${id} on shard ${shard.index} with ${shard.keysOf(id).length} keys`),
    );
  }

  /** True if every client's write has its revision and every watcher all its events. */
  private get isDelivered(): boolean {
    if (this.proxies.some(({ isReady }) => !isReady)) return false;
    return this.undelivered() === "";
  }

  private undelivered(): string {
    const truth: Truth[] = [];
    for (const { store, index } of this.shards) {
      for (const change of store.changesFrom(2)) {
        const events = this.shards[index]!.eventsOf(change);
        if (events.length === 0) continue;
        const revision = this.revisions.get(`${index} ${change.revision}`);
        if (revision === undefined) return `shard ${index} at ${change.revision} is not sealed`;
        const isSilent = this.shards[index]!.silent.has(change.revision);
        for (const event of events) truth.push({ revision, event, mayLack: isSilent && event.type === 1 });
      }
    }
    truth.sort((a, b) => a.revision - b.revision);
    for (const [n, watcher] of this.watchers.entries()) {
      const { received } = watcher;
      let place = 0;
      let missing: string | undefined;
      for (const each of watcher.expected(truth)) {
        const text = describe(each);
        if (received[place] === text) place++;
        else if (each.mayLack !== true) {
          missing = text;
          break;
        }
      }
      if (missing === undefined && place === received.length) continue;
      const text = `watcher ${n} expects ${missing} as event ${place}, and got ${received[place]}`;
      if (received.length > place) this.fail(new Error(text));
      return text;
    }
    return "";
  }

  private checkPrevious(): void {
    const history = new Map<string, number[]>();
    for (const { store, index } of this.shards) {
      for (const change of store.changesFrom(2)) {
        for (const { key } of this.shards[index]!.eventsOf(change)) {
          const list = history.get(key) ?? [];
          history.set(key, list);
          list.push(this.revisions.get(`${index} ${change.revision}`) ?? 0);
        }
      }
    }
    for (const { key, revision, mod } of this.previous) {
      const before = history.get(key)?.findLast((each) => each < revision) ?? 0;
      // At a compaction, the version before may have been pruned from the timeline.
      if (!this.compactions.has(revision))
        assert.equal(mod, before, `the previous key of ${key} at ${revision}`);
    }
  }

  /** Makes a shard lose data. No proxy may accept it after that. */
  private async loseData(): Promise<void> {
    const { random, scenario, scheduler } = this;
    const candidates = this.shards.filter(
      ({ index, store }) => index !== scenario.host && store.revision > 3,
    );
    if (candidates.length === 0) return;
    const shard = random.pick(candidates);
    await this.until(
      () => this.proxies.every(({ timeline }) => timeline.cut(shard.index) >= shard.store.revision),
      scheduler.now + SETTLE_TIMEOUT_MS,
      "all proxies know the shard's newest revision",
    );
    for (const proxy of this.proxies) for (const guard of proxy.guards) await this.quiet(guard.verify());
    const cuts = new Map(this.proxies.map((proxy) => [proxy, proxy.timeline.cut(shard.index)]));
    if (scenario.loss === "restored") shard.lose(1 + random.below(shard.store.revision - 1));
    else shard.exchange();
    this.loss = { shard, cuts };
    for (const { links } of this.proxies) links[shard.index]!.break(random.below(500));
    const watching = this.proxies.filter((proxy) => proxy.isWatching);
    if (random.chance(0.5)) {
      // There are no calls. Proxies with open streams must notice without one.
      await this.pass(6_000);
      const unaware = watching.filter(({ reported }) => !reported.some((text) => REFUSED.test(text)));
      assert.deepEqual(
        unaware.map(({ name }) => name),
        [],
        "proxies with open watches notice the loss",
      );
    }
    const key = [...LETTERS].find((letter) => this.shardOf(letter) === shard.index) ?? "a";
    const codes: number[] = [];
    for (let n = 0; n < 12; n++) {
      for (const proxy of this.proxies) {
        proxy.put(key, "after the loss").then(
          () => this.fail(new Error(`${proxy.name} accepts a put on a shard that has lost data`)),
          (error: StatusError) => codes.push(error.code),
        );
      }
      await this.pass(random.below(400));
    }
    await this.until(
      () => codes.length >= 12 * this.proxies.length,
      scheduler.now + SETTLE_TIMEOUT_MS,
      "all puts on the shard are answered",
    );
    const refusal = scenario.loss === "restored" ? Code.DATA_LOSS : Code.FAILED_PRECONDITION;
    assert.equal(codes.at(-1), refusal, "the shard is refused for what it has lost");
  }

  /** Lets `ms` milliseconds pass. */
  private pass(ms: number): Promise<void> {
    const end = this.scheduler.now + ms;
    let over = false;
    this.scheduler.after(ms, () => {
      over = true;
    });
    return this.until(() => over, end + 1_000, "time goes by");
  }

  /** Waits until a promise of the simulation is settled. */
  private async quiet(promise: Promise<void>): Promise<void> {
    let settled = false;
    const settle = () => {
      settled = true;
    };
    promise.then(settle, settle);
    await this.until(() => settled, this.scheduler.now + SETTLE_TIMEOUT_MS, "a promise settles");
  }

  private async until(done: () => boolean, limit: number, what: string | (() => string)): Promise<void> {
    try {
      await this.scheduler.runUntil(() => this.failed !== undefined || done(), limit);
    } catch (error) {
      const text = typeof what === "string" ? what : what();
      this.fail(new Error(`${error instanceof Error ? error.message : error}: ${text}`));
    }
    if (this.failed !== undefined) throw this.failed;
  }
}
