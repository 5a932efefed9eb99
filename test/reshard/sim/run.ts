import { fingerprint } from "../../../src/routing/fingerprint.js";
import { Hasher } from "../../../src/routing/hash.js";
import type { RoutingRule, ShardMap } from "../../../src/routing/map.js";
import { Random } from "../../timeline/sim/scheduler.js";
import { checkAll } from "./check.js";
import { SimMover } from "./mover.js";
import { type Faults, Lost } from "./network.js";
import { type Answer, Refused, SimProxy } from "./proxy.js";
import { LeaseNotFound } from "./shard.js";
import { SimWatch } from "./watch.js";
import { after, type Broken, bytesOf, planShard, type Seen, type WatchRecord, World } from "./world.js";

export interface Scenario {
  readonly seed: number;
  /** Shards of the first map. */
  readonly shards: number;
  /** Number of clusters. */
  readonly clusters: number;
  /** Index of the first timeline host; -1: a cluster of its own. */
  readonly host: number;
  readonly proxies: number;
  readonly clients: number;
  readonly operations: number;
  readonly faults: Faults;
  /** Average time between two disturbances, in milliseconds. */
  readonly calm: number;
  readonly leases: boolean;
  readonly compactions: boolean;
  readonly hostMoves: boolean;
  readonly deaths: boolean;
  /** Kinds of disturbances while a step is frozen. */
  readonly ambushes: readonly Ambush[];
  /** Number of ambushes. */
  readonly ambushed: number;
  /** Calls of clients, repeated by weight. */
  readonly mix: readonly ClientCall[];
  /** Makes the watches. By default they are those of the simulation. */
  readonly watch?: (proxy: SimProxy, record: WatchRecord) => { run(): Promise<void> };
}

const CALLS = {
  put: 27,
  "put all": 6,
  delete: 9,
  swap: 12,
  get: 16,
  scan: 10,
  "scan at": 13,
  "delete range": 2,
  lease: 6,
} as const;
export type ClientCall = keyof typeof CALLS;
export const mixOf = (weights: Partial<Record<ClientCall, number>>): ClientCall[] =>
  Object.entries(weights).flatMap(([call, weight]) => new Array<ClientCall>(weight).fill(call as ClientCall));

/** Disturbances while a step is frozen. */
export const AMBUSHES = [
  "expire",
  "revoke",
  "compact",
  "watch",
  "delete range",
  "get",
  "scan",
  "pause",
  "put",
] as const;
export type Ambush = (typeof AMBUSHES)[number];

const GROUPS = ["/a", "/a-1", "/b", "/c", "/d", "e", "f"];
export const KEYS = GROUPS.flatMap((group) => [group, `${group}/1`, `${group}/2/x`]).sort();
const EVERYTHING: readonly [string, string] = ["\x01", "\xff\xff"];

export function scenario(seed: number): Scenario {
  const random = new Random(seed ^ 0x5eed);
  const shards = 1 + random.below(2);
  const clusters = shards + 1 + random.below(2);
  return {
    seed,
    shards,
    clusters,
    host: random.below(shards + 1) - 1,
    proxies: 2 + random.below(2),
    clients: 3 + random.below(2),
    operations: 60 + random.below(60),
    faults: {
      loss: random.pick([0, 0, 0.005, 0.02]),
      pause: random.pick([100, 400, 1_500]),
      lag: random.pick([5, 30, 300]),
      slow: random.pick([0.01, 0.02, 0.15]),
      hesitation: random.pick([1, 1, 100]),
    },
    calm: random.pick([20, 60, 200]),
    leases: random.chance(0.6),
    compactions: random.chance(0.5),
    hostMoves: random.chance(0.3),
    deaths: random.chance(0.6),
    ambushes: AMBUSHES.filter(() => random.chance(0.5)),
    ambushed: random.pick([0, 10, 40]),
    mix: mixOf(CALLS),
  };
}

let hasher: Hasher | undefined;

/** Runs a scenario and checks what clients saw. Throws at the first failure. */
export async function simulate(
  settings: Scenario,
  broken: Broken = new Set(),
  direct?: Director,
): Promise<World> {
  hasher ??= await Hasher.load();
  const random = new Random(settings.seed ^ 0xabc);
  const names = Array.from({ length: settings.clusters }, (_, index) => `s${index}`);
  const maps: string[] = [];
  const first = (await fingerprint(randomMap(random, names.slice(0, settings.shards)))).text;
  for (let count = settings.shards; maps.length < 8; ) {
    count = Math.min(names.length, count + random.below(2));
    const used = names.slice(0, count).filter(() => random.chance(0.7));
    const map = randomMap(random, used.length > 0 ? used : names.slice(0, 1));
    maps.push((await fingerprint(map)).text);
  }
  const keys = Array.from({ length: random.below(30) }, () => random.pick(KEYS));
  const world = new World(settings.seed, hasher, broken, first, names, settings.shards, settings.host, keys);
  const run = new Run(world, settings, names, maps);
  if (direct !== undefined) world.hook = direct(run);
  await run.run();
  return world;
}

function randomMap(random: Random, names: readonly string[]): ShardMap {
  const rules: RoutingRule[] = [];
  if (random.chance(0.3)) rules.push({ prefix: bytesOf("/"), delimiter: 0x2f, segments: 2 });
  if (random.chance(0.3))
    rules.push({ prefix: bytesOf("/c/"), delimiter: 0x2f, segments: 1, shard: random.pick(names) });
  if (random.chance(0.2))
    rules.push({ prefix: bytesOf("e"), delimiter: 0x2f, segments: 1, shard: random.pick(names) });
  return { shards: names.map((name) => ({ name, weight: 1 + random.below(2) })), rules };
}

/** Makes a directed schedule for a run. */
export type Director = (run: Run) => NonNullable<World["hook"]>;

export class Run {
  private readonly random: Random;
  readonly proxies: SimProxy[] = [];
  private readonly leases: number[] = [];
  private readonly seen: Seen[] = [];
  private readonly heads: number[] = [1];
  private faults: Faults;
  private started = 0;
  private nextLease = 1;
  private settling = false;
  /** Number of movers at work, replaced ones included. */
  private movers = 0;
  private running = 0;

  constructor(
    readonly world: World,
    private readonly settings: Scenario,
    private readonly names: readonly string[],
    private readonly maps: string[],
  ) {
    this.random = world.random;
    this.faults = settings.faults;
  }

  async run(): Promise<void> {
    const { world, settings } = this;
    for (let slot = 0; slot < settings.proxies; slot++) this.startProxy(slot);
    for (let n = 0; n < settings.clients; n++)
      this.spawn(this.client(Math.ceil(settings.operations / settings.clients)));
    for (const range of [EVERYTHING, ["/a", "/c"], this.random.pick(KEYS.map((key) => [key, after(key)]))])
      world.spawn(this.watcher(range[0], range[1]));
    world.spawn(this.disturb());
    world.spawn(this.administer());
    if (settings.ambushed > 0) world.spawn(this.ambush());
    await this.wait(() => this.running === 0, 120_000);
    await this.settle();
    checkAll(world);
  }

  private async wait(done: () => boolean, limit: number): Promise<void> {
    const { scheduler } = this.world;
    await scheduler.runUntil(() => done() || this.world.failed !== undefined, scheduler.now + limit);
    if (this.world.failed !== undefined) throw this.world.failed;
  }

  private spawn(work: Promise<unknown>): void {
    this.running++;
    this.world.spawn(work.finally(() => this.running--));
  }

  private startProxy(slot: number): void {
    const proxy = new SimProxy(this.world, `p${slot}-${this.started++}`, this.faults, this.world.lastHost);
    this.proxies[slot] = proxy;
    this.world.spawn(proxy.start());
  }

  /** A random proxy that is up. Waits until there is one. */
  private async anyProxy(): Promise<SimProxy> {
    for (;;) {
      const proxy = this.random.pick(this.proxies);
      if (proxy.log.fold !== undefined && proxy.network.alive) return proxy;
      await this.world.scheduler.sleep(10);
    }
  }

  // --- clients -----------------------------------------------------------------------------------------

  private async client(operations: number): Promise<void> {
    for (let n = 0; n < operations; n++) {
      await this.world.scheduler.sleep(this.random.below(60));
      const proxy = await this.anyProxy();
      try {
        await Promise.race([this.operate(proxy), proxy.death]);
      } catch (error) {
        if (!isClientError(error)) throw error;
      }
    }
  }

  private async operate(proxy: SimProxy): Promise<void> {
    const { random, world } = this;
    const operation = world.nextOperation();
    const key = random.pick(KEYS);
    const value = `v${operation}`;
    switch (random.pick(this.settings.mix)) {
      case "put":
        await this.put(proxy, operation, key);
        break;
      case "put all": {
        const group = random.pick(GROUPS);
        const inGroup = KEYS.filter((each) => each === group || each.startsWith(`${group}/`));
        const keys = inGroup.filter(() => random.chance(0.8));
        if (keys.length === 0) return;
        await this.observe(`${operation}: put all of ${keys}`, {}, () =>
          proxy.putAll(operation, keys, value),
        );
        break;
      }
      case "delete":
        await this.observe(`${operation}: delete ${key}`, {}, () => proxy.remove(operation, key));
        break;
      case "swap": {
        const seen =
          this.seen.length > 0 && random.chance(0.8) ? random.pick(this.seen.slice(-12)) : undefined;
        const target = seen?.key ?? key;
        const kind = { compared: { key: target, mod: seen?.mod ?? 0 }, before: target };
        await this.observe(`${operation}: swap ${target}`, kind, () =>
          proxy.swap(operation, target, kind.compared.mod, value),
        );
        break;
      }
      case "get":
        await this.get(proxy, operation, key);
        break;
      case "scan": {
        await this.scan(proxy, operation, ...this.randomRange());
        break;
      }
      case "scan at": {
        const [from, to] = random.chance(0.3) ? ([key, after(key)] as const) : this.randomRange();
        await this.scanAt(proxy, operation, from, to, random.pick(this.heads.slice(-30)));
        break;
      }
      case "delete range":
        await this.removeRange(proxy, operation, ...this.randomRange());
        break;
      case "lease":
        if (!this.settings.leases) return;
        if (this.leases.length > 0 && random.chance(0.4)) return this.revoke(proxy);
        this.leases.push(await this.grant(proxy));
    }
  }

  async put(proxy: SimProxy, operation: number, key: string): Promise<void> {
    if (this.settings.leases && this.leases.length < 5) this.leases.push(await this.grant(proxy));
    const lease = this.someLease();
    await this.observe(`${operation}: put ${key}`, { before: key }, () =>
      proxy.put(operation, key, `v${operation}`, lease),
    );
  }

  async get(proxy: SimProxy, operation: number, key: string): Promise<void> {
    await this.observe(`${operation}: get ${key}`, { read: [key, after(key)] }, () => proxy.get(key));
  }

  async scan(proxy: SimProxy, operation: number, from: string, to: string): Promise<void> {
    await this.observe(`${operation}: scan ${from}`, { read: [from, to] }, () => proxy.scan(from, to));
  }

  private async grant(proxy: SimProxy): Promise<number> {
    const lease = this.nextLease++;
    await proxy.grant(lease);
    return lease;
  }

  private someLease(): number {
    return this.leases.length > 0 && this.random.chance(0.7) ? this.random.pick(this.leases) : 0;
  }

  private async revoke(proxy: SimProxy): Promise<void> {
    const [lease] = this.leases.splice(this.random.below(this.leases.length), 1);
    // If the proxy dies on the way, another one ends the remaining parts.
    this.world.spawn(this.endEverywhere(lease, 1_000));
    await this.observe(`revoke ${lease}`, { released: lease }, () => proxy.endLease(lease));
    this.world.revoked.set(lease, this.world.tick());
  }

  private async scanAt(
    proxy: SimProxy,
    operation: number,
    from: string,
    to: string,
    at: number,
  ): Promise<void> {
    const what = `${operation}: scan ${from} at ${at}`;
    await this.observe(what, { read: [from, to], stale: true }, () => proxy.scan(from, to, at));
  }

  async removeRange(proxy: SimProxy, operation: number, from: string, to: string): Promise<void> {
    this.world.ranges.add(operation);
    await this.observe(`${operation}: delete from ${from}`, {}, () => proxy.removeRange(operation, from, to));
  }

  private randomRange(): readonly [string, string] {
    if (this.random.chance(0.3)) return EVERYTHING;
    const [a, b] = [this.random.pick(KEYS), this.random.pick(KEYS)];
    return a < b ? [a, b] : [b, after(a)];
  }

  private async observe(
    what: string,
    kind: {
      read?: readonly [string, string];
      stale?: boolean;
      before?: string;
      compared?: { key: string; mod: number };
      released?: number;
    },
    call: () => Promise<Answer>,
  ): Promise<void> {
    const { world } = this;
    const begin = world.tick();
    const answer = await call();
    const { read, before, compared, released } = kind;
    world.observations.push({
      what,
      begin,
      end: world.tick(),
      revision: answer.revision,
      wrote: answer.wrote,
      fresh: kind.stale !== true,
      ...(read !== undefined && { read: { from: read[0], to: read[1], items: answer.items } }),
      ...(before !== undefined && answer.wrote && { before: { key: before, item: answer.before } }),
      ...(released !== undefined && { released }),
      ...(compared !== undefined && { compared: { ...compared, succeeded: answer.succeeded === true } }),
    });
    this.heads.push(answer.revision);
    this.seen.push(...answer.items);
  }

  async watcher(from: string, to: string, at?: number): Promise<void> {
    if (at === undefined) await this.world.scheduler.sleep(this.random.below(500));
    const start = at ?? (this.random.chance(0.5) ? 2 : this.random.pick(this.heads) + 1);
    const flags = this.settings.watch === undefined ? {} : this.flags();
    const record: WatchRecord = { from, to, start, events: [], progress: start - 1, gaps: [], ...flags };
    this.world.watches.push(record);
    for (;;) {
      const proxy = await this.anyProxy();
      const watch = this.settings.watch?.(proxy, record) ?? new SimWatch(proxy, record);
      await Promise.race([watch.run(), proxy.death]);
    }
  }

  private flags() {
    return { prevKv: this.random.chance(0.5), slow: this.random.chance(0.3) };
  }

  // --- disturbances ------------------------------------------------------------------------------------

  private async disturb(): Promise<void> {
    const { random, settings, world } = this;
    while (!this.settling) {
      await world.scheduler.sleep(random.below(settings.calm * 2));
      if (this.settling) return;
      const slot = random.below(this.proxies.length);
      const proxy = this.proxies[slot];
      if (proxy.log.fold === undefined || !proxy.network.alive) continue;
      const dice = random.below(100);
      if (dice < 30) proxy.network.pause(random.below(this.faults.pause));
      else if (dice < 50) {
        // Steps take time. With fewer rivals, movers get somewhere in most seeds.
        if (random.chance(settings.calm / 400)) this.claim(proxy);
      } else if (dice < 60) void this.background(proxy.log.writeBase());
      else if (dice < 70 && settings.deaths) {
        proxy.kill();
        await world.scheduler.sleep(random.below(100));
        this.startProxy(slot);
      } else if (dice < 80 && settings.compactions) {
        void this.background(proxy.compact(Math.max(1, proxy.fold.head - random.below(40))));
      } else if (dice < 90 && settings.leases) this.expire();
      else if (dice < 93 && settings.hostMoves) {
        const host = random.below(proxy.fold.store.timeline.cut.length + 1) - 1;
        if (host !== proxy.log.host) void this.background(proxy.log.moveHost(host));
      } else if (dice < 96) {
        // The dedicated host compacts itself, so a proxy that is behind must load the log again.
        world.dedicated.compact(world.dedicated.revision - random.below(10));
      }
    }
  }

  /** Disturbs while a step is frozen in some proxy's view. */
  private async ambush(): Promise<void> {
    const { random, settings, world } = this;
    for (let left = settings.ambushed; left > 0 && !this.settling; ) {
      await world.scheduler.sleep(1 + random.below(6 + settings.faults.hesitation / 3));
      if (this.settling || settings.ambushes.length === 0) return;
      if (!this.proxies.some(({ log }) => log.fold?.placement.snapshot().plan?.frozen !== undefined))
        continue;
      left--;
      const proxy = await this.anyProxy();
      void this.background(Promise.race([this.strike(random.pick(settings.ambushes), proxy), proxy.death]));
    }
  }

  private async strike(ambush: Ambush, proxy: SimProxy): Promise<void> {
    const { random, world } = this;
    const { leases, compactions } = this.settings;
    const operation = world.nextOperation();
    const frozen = this.proxies.find(({ log }) => log.fold?.placement.snapshot().plan?.frozen !== undefined);
    const keys = KEYS.filter((each) => frozen?.locator.isInFrozenStep(bytesOf(each)));
    const key = random.pick(keys.length > 0 ? keys : KEYS);
    const [from, to] = this.randomRange();
    switch (ambush) {
      case "expire":
        if (leases) this.expire();
        break;
      case "revoke":
        if (leases && this.leases.length > 0) await this.revoke(proxy);
        break;
      case "compact":
        if (compactions) await proxy.compact(Math.max(1, proxy.fold.head - random.below(6)));
        break;
      case "watch":
        if (world.watches.length < (this.settings.watch === undefined ? 8 : 24))
          world.spawn(this.watcher(...EVERYTHING, proxy.fold.head + random.below(3)));
        break;
      case "delete range":
        await this.removeRange(proxy, operation, from, to);
        break;
      case "get":
        await this.get(proxy, operation, key);
        break;
      case "scan": {
        const at = Math.max(1, proxy.fold.head - random.below(4));
        await this.scanAt(proxy, operation, from, to, at);
        break;
      }
      case "pause":
        proxy.network.pause(random.below(this.faults.pause));
        break;
      case "put":
        await this.put(proxy, operation, key);
    }
  }

  /** Lets a lease expire on one of its shards. A proxy ends the other parts later. */
  private expire(): void {
    const { world, random } = this;
    const shard = random.pick(world.shards);
    // Prefer a lease with keys here.
    const used = shard.range("\x01", "\xff\xff").flatMap(({ lease }) => (lease === 0 ? [] : [lease]));
    const lease = random.pick(used.length > 0 ? used : [...shard.leases, 0]);
    if (lease === 0) return;
    world.ended.add(lease);
    shard.endLease(lease);
    const at = this.leases.indexOf(lease);
    if (at >= 0) this.leases.splice(at, 1);
    world.spawn(this.endEverywhere(lease));
  }

  private async endEverywhere(lease: number, late = 0): Promise<void> {
    for (let ended = false; !ended; ) {
      await this.world.scheduler.sleep(late + this.random.below(300));
      const proxy = await this.anyProxy();
      await Promise.race([
        proxy.endLease(lease).then(() => {
          ended = true;
        }),
        proxy.death,
      ]);
    }
  }

  private claim(proxy: SimProxy): void {
    this.movers++;
    const work = Promise.race([new SimMover(proxy).work(), proxy.death]);
    this.world.spawn(work.finally(() => this.movers--));
  }

  /** Runs work in the background that may fail as a client's call does. Resolves when it has ended. */
  background(work: Promise<unknown>): Promise<void> {
    const ended = work.then(
      () => {},
      (error) => {
        if (!isClientError(error)) this.world.fail(error);
      },
    );
    return ended;
  }

  // --- plans -------------------------------------------------------------------------------------------

  private async administer(): Promise<void> {
    const { world, random } = this;
    while (!this.settling) {
      await world.scheduler.sleep(random.below(100));
      if (this.settling) return;
      const proxy = await this.anyProxy();
      const { plan, plans, shards } = proxy.fold.placement.snapshot();
      if (plan !== undefined) {
        if (this.movers === 0) this.claim(proxy);
        else if (random.chance(0.015))
          void this.background(proxy.log.append({ change: { kind: "turn back", plan: plan.number } }));
        continue;
      }
      const map = this.maps.shift();
      if (map === undefined) return;
      const added = this.names
        .map((name, index) => planShard(index, name, world.shards[index].revision))
        .filter(({ index }) => index >= shards.length);
      void this.background(proxy.log.append({ change: { kind: "plan", after: plans, map, shards: added } }));
    }
  }

  // --- the end -----------------------------------------------------------------------------------------

  /** Stops all disturbances, completes the plan, ends all parts of ended leases, and lets watches catch up. */
  private async settle(): Promise<void> {
    const { world } = this;
    this.settling = true;
    this.faults = { loss: 0, pause: 0, lag: 5, slow: 0, hesitation: 1 };
    for (const proxy of this.proxies) proxy.network.faults = this.faults;
    let settled = false;
    const work = async () => {
      const isUp = ({ network, log }: SimProxy) => network.alive && log.fold !== undefined;
      while (!this.proxies.every(isUp)) await world.scheduler.sleep(10);
      // Requests of senders that gave up may still arrive.
      await world.scheduler.sleep(1_000);
      const proxy = await this.anyProxy();
      for (;;) {
        await proxy.log.sync();
        if (proxy.fold.placement.snapshot().plan === undefined) break;
        await new SimMover(proxy).work();
        await world.scheduler.sleep(50);
      }
      for (const lease of world.ended) await proxy.endLease(lease);
      for (const each of this.proxies) {
        await this.observe("final scan", { read: EVERYTHING }, () => each.scan(...EVERYTHING));
      }
      const { head } = proxy.fold;
      while (world.watches.some(({ progress }) => progress < head)) await world.scheduler.sleep(20);
      settled = true;
    };
    world.spawn(work());
    await this.wait(() => settled, 120_000);
  }
}

/** True for errors that a client may get. */
const isClientError = (error: unknown): boolean =>
  error instanceof Lost || error instanceof Refused || error instanceof LeaseNotFound;
