import assert from "node:assert/strict";
import { compareBounds, START } from "../../../src/reshard/bound.js";
import { type Change, encodeChange } from "../../../src/reshard/change.js";
import { genDigits, readGen } from "../../../src/reshard/gen.js";
import { encodeImports } from "../../../src/reshard/importsCodec.js";
import { encodePlacement } from "../../../src/reshard/placementCodec.js";
import { StatusError } from "../../../src/status/error.js";
import { decodeBase, decodeBaseHead, type PartSizes } from "../../../src/timeline/base.js";
import { decodeEntry } from "../../../src/timeline/entry.js";
import type { HostChange, NextHost } from "../../../src/timeline/host.js";
import { isEntryKey } from "../../../src/timeline/keys.js";
import { encodeMark, isRaisedMark } from "../../../src/timeline/mark.js";
import { pruneTable } from "../../../src/timeline/pruneTable.js";
import { StoreFold, type StoreState } from "../../../src/timeline/storeFold.js";
import { SharedTimeline } from "../../../src/timeline/timeline.js";
import { TimelineLog } from "../../../src/timeline/timelineLog.js";
import { type CarriedEntry, NO_SHARD, type Seals } from "../../../src/timeline/view.js";
import { TxnResponse } from "../../../src/wire/messages.js";
import { mapText, newMaps } from "../../support/maps.js";
import { SimEtcd, type SimPut } from "./etcd.js";
import { type Faults, Network, putCarrying, simHost } from "./network.js";
import { simRuntime } from "./runtime.js";
import { Random, Scheduler } from "./scheduler.js";

/** Parts of the protocol that a test breaks on purpose. */
export interface Mutation {
  log?: typeof TimelineLog;
  timeline?: typeof SharedTimeline;
  /** The host ignores the compare in transactions. */
  unguarded?: boolean;
  /** A watcher hands out what it has without waiting for the shards before it. */
  eagerWatch?: boolean;
  /** The host is marked without a put of the log's tail. */
  silentMark?: boolean;
}

export interface Scenario {
  readonly seed: number;
  readonly shards: number;
  readonly proxies: number;
  /** Index of the shard that is the host; -1 when the host is not a shard. */
  readonly host: number;
  readonly operations: number;
  readonly faults: Faults;
  /** Chance of a crash after each operation. */
  readonly crash: number;
  /** Whether proxies propose changes of the placement. */
  readonly changes: boolean;
  /** Whether the log moves between hosts. */
  readonly moves: boolean;
  /** Whether the store begins as a sole one: one shard, which is the host, with a mark. */
  readonly sole: boolean;
  /** Whether the log of a store that is not a sole one has a placement soon, so that puts can carry entries. */
  readonly placed: boolean;
  /** Whether proxies wait before they append, as with many others that append. */
  readonly paced: boolean;
}

interface Write {
  readonly shard: number;
  readonly shardRevision: number;
  readonly key: string;
}

type Observation =
  | { readonly kind: "put"; write: Write; revision: number; begin: number; end: number }
  | { readonly kind: "get"; key: string; revision: number; mod: number; begin: number; end: number }
  | { readonly kind: "scan"; revision: number; mods: Map<string, number>; begin: number; end: number };

const SEAL_BY_WATCH = 30;

/** Logs with short epochs and small parts, so that every run sees many bases of many parts. */
export class ShortEpochLog extends TimelineLog {
  protected override partSizes(): PartSizes {
    return { segments: 5, imports: 4, bytes: 40 };
  }

  protected override drawLimit(): number {
    return 4 + Math.floor(super.drawLimit() % 8);
  }
}

/** A whole installation in virtual time. Its invariants are checked during the run and at the end. */
export class World {
  readonly random: Random;
  readonly scheduler = new Scheduler();
  readonly shards: SimEtcd[];
  /** A host that is not a shard. */
  private readonly dedicated = new SimEtcd();
  readonly proxies: SimProxy[] = [];
  /** Revision → the write seen there first. Every proxy must agree. */
  readonly oracle = new Map<number, Write>();
  readonly writes = new Map<string, Write>();
  readonly observations: Observation[] = [];
  /** Shard revisions taken by the marks of each shard before the store was made. */
  readonly omitted: number[][];
  readonly maps = newMaps();
  /** Changes proposed by each run of a proxy, by its name. */
  readonly proposals = new Map<string, Proposed[]>();
  private started = 0;
  private beganEmpty = true;
  /** Host revision of its first mark. */
  private markedAt = 0;
  private settling = false;
  private imports = 1_000_000;
  /** Number of puts that have carried their entry. */
  carried = 0;

  constructor(
    readonly scenario: Scenario,
    readonly mutation: Mutation,
  ) {
    this.random = new Random(scenario.seed);
    this.shards = Array.from({ length: scenario.shards }, () => new SimEtcd());
    this.omitted = this.shards.map(() => []);
  }

  /** The shard with this index, or the cluster that is not a shard (-1). */
  cluster(index: number): SimEtcd {
    return index < 0 ? this.dedicated : this.shards[index];
  }

  /** Index of the host where the log is now. */
  get host(): number {
    let { host } = this.scenario;
    for (let hosts = 1; ; hosts++) {
      const stored = this.cluster(host).get("\0braid/base");
      if (stored === undefined) return host;
      const head = decodeBaseHead(stored.value);
      if ((head.hosts ?? 1) < hosts || head.next === undefined) return host;
      hosts = head.hosts ?? 1;
      host = head.next.shard;
    }
  }

  get hostEtcd(): SimEtcd {
    return this.cluster(this.host);
  }

  async run(): Promise<void> {
    const { proxies, operations } = this.scenario;
    if (this.random.chance(0.3)) this.seedData();
    this.beganEmpty = this.shards[0].revision === 1;
    if (this.scenario.sole) this.markSole();
    else this.random.pick([() => this.mark(), () => this.markHostLater(), () => {}])();
    for (let index = 0; index < proxies; index++) this.startProxy(index);
    if (!this.scenario.sole) void this.raiseGens();
    let running = 0;
    for (let client = 0; client < 4; client++) {
      running++;
      void this.client(Math.ceil(operations / 4)).finally(() => running--);
    }
    await this.scheduler.runUntil(() => running === 0 || this.failed !== undefined, 600_000);
    if (this.failed !== undefined) throw this.failed;
    await this.settle();
    // Not possible when a revision was pruned before a living proxy recorded it.
    if (this.oracle.size === this.writes.size) this.checkObservations();
  }

  failed: unknown;

  fail(reason: unknown): void {
    this.failed ??= reason;
  }

  /** A shard revision for an import, ascending and far above those of writes. */
  nextImport(): number {
    this.imports += 1 + this.random.below(3);
    return this.imports;
  }

  private seedData(): void {
    for (let n = this.random.below(12); n > 0; n--) this.putDirectly(this.random.pick(KEYS));
  }

  /** Marks the only shard, with or without a claim before. Clients may write meanwhile. */
  private markSole(): void {
    const [etcd] = this.shards;
    if (this.random.chance(0.5))
      this.omitted[0].push(etcd.put([{ key: `${HOST_MARK}/claim`, value: Buffer.alloc(0) }]));
    if (this.random.chance(0.2)) this.seedData();
    const host = { name: "0", clusterId: "1" };
    const marks = [0, -1].map((index) => encodeMark({ store: STORE, name: String(index), index, host }));
    const [own, other] = marks.map(({ key, value }) => ({ key: key.toString("latin1"), value }));
    this.omitted[0].push(etcd.put([own]));
    this.dedicated.put([other]);
    if (this.random.chance(0.2)) this.seedData();
    // Data from between the marks counts as well.
    this.beganEmpty = etcd.revision === this.omitted[0].length + 1;
  }

  /** gen on the only shard of a sole store. */
  get gen(): number {
    return readGen(this.shards[0].get(HOST_MARK)!.value);
  }

  /** Marks all clusters before the store is made, some of them twice, with clients' writes between the marks. */
  private mark(): void {
    const claimed = this.random.below(this.shards.length);
    for (const [shard, etcd] of this.shards.entries()) {
      const names = shard === claimed ? ["x/claim", "x"] : ["x"];
      for (const name of names) {
        this.omitted[shard].push(etcd.put([{ key: `\0braid/mark/${name}`, value: Buffer.alloc(0) }]));
        if (this.random.chance(0.3)) this.seedData();
      }
    }
    if (this.scenario.host < 0) this.hostEtcd.put([{ key: "\0braid/mark/x", value: Buffer.alloc(0) }]);
  }

  /** Marks the host of a store without marks while its log is in use. */
  private markHostLater(): void {
    this.markedAt = Number.POSITIVE_INFINITY;
    this.scheduler.after(this.random.below(400), () => {
      if (this.host !== this.scenario.host || this.hostEtcd.get("\0braid/base") === undefined) return;
      const keys = [HOST_MARK, ...(this.mutation.silentMark ? [] : ["\0braid/tail"])];
      this.markedAt = this.hostEtcd.put(
        keys.map((key) => ({ key, value: Buffer.from(`${genDigits(0)} {}`) })),
      );
    });
  }

  /** Now and then raises gen on the host, if that is a shard: puts its mark, without the log's tail. */
  private async raiseGens(): Promise<void> {
    if (this.random.chance(0.5)) return;
    for (let gen = 1; gen < 20; gen++) {
      await this.scheduler.sleep(this.random.below(200));
      const { host } = this;
      if (host < 0) continue;
      const base = this.hostEtcd.get("\0braid/base");
      // The first plan follows a base that covers the host's first mark.
      const isCovered = base !== undefined && decodeBaseHead(base.value).covers >= this.markedAt;
      if (!isCovered || this.settling) continue;
      const value = Buffer.from(`${genDigits(gen)} {}`);
      const shardRevision = this.hostEtcd.put([{ key: HOST_MARK, value }]);
      this.writes.set(`${host}/${shardRevision}`, { shard: host, shardRevision, key: HOST_MARK });
    }
  }

  shardOf(key: string): number {
    return key.charCodeAt(0) % this.scenario.shards;
  }

  /** A put on the shard itself: the effect of a proxy's put, or a write past the proxies. */
  putDirectly(key: string): number {
    const shard = this.shardOf(key);
    const shardRevision = this.shards[shard].put([{ key, value: Buffer.alloc(0) }]);
    this.writes.set(`${shard}/${shardRevision}`, { shard, shardRevision, key });
    return shardRevision;
  }

  /** As `putDirectly`, in a transaction that carries an entry. Returns the response. */
  putCarrying(key: string, fields: Uint8Array, position: number): Uint8Array {
    const shard = this.shardOf(key);
    const etcd = this.shards[shard];
    if (this.scenario.sole && this.gen > position) return REFUSED;
    const response = putCarrying(etcd, { key, value: Buffer.alloc(0) }, fields);
    if (TxnResponse.decode(response).succeeded) {
      this.carried++;
      this.writes.set(`${shard}/${etcd.revision}`, { shard, shardRevision: etcd.revision, key });
    }
    return response;
  }

  startProxy(index: number): void {
    this.proxies[index] = new SimProxy(this, `${index}-${this.started++}`);
    this.proxies[index].start();
  }

  private async client(operations: number): Promise<void> {
    for (let n = 0; n < operations; n++) {
      await this.scheduler.sleep(this.random.below(10));
      const index = this.random.below(this.proxies.length);
      // A client whose proxy dies gets no answer. It gives up and continues.
      const limit = this.scheduler.sleep(3_000);
      await Promise.race([this.proxies[index].operation().catch((error) => this.note(error)), limit]);
      if (this.random.chance(this.scenario.crash)) {
        this.proxies[index].crash();
        this.startProxy(index);
      }
    }
  }

  private note(error: unknown): void {
    if (!(error instanceof StatusError)) this.fail(error);
  }

  /** Waits until everything is sealed, and checks that all proxies and a new one agree. */
  private async settle(): Promise<void> {
    this.settling = true;
    this.scenario.faults.loss = 0;
    this.scenario.faults.cut = 0;
    this.scenario.faults.lag = 0;
    this.startProxy(this.proxies.length);
    const settled = () =>
      this.failed !== undefined ||
      this.proxies.every(
        (proxy) =>
          proxy.ready &&
          !proxy.isProposing &&
          this.shards.every((_, shard) => proxy.timeline.cut(shard) >= this.lastWrite(shard)) &&
          proxy.timeline.log.folded.seen >= (this.hostEtcd.get("\0braid/tail")?.modRevision ?? 0) &&
          proxy.delivered === proxy.timeline.head,
      );
    for (let shard = 0; shard < this.shards.length; shard++) {
      void this.proxies[this.proxies.length - 1].sealAll(shard);
    }
    await this.scheduler.runUntil(settled, this.scheduler.now + 120_000);
    if (this.failed !== undefined) throw this.failed;
    const moves = this.checkChanges();
    const dense = this.writes.size + 1 + moves;
    if (!this.scenario.moves) {
      assert.equal(
        this.proxies[0].timeline.head,
        dense,
        "revisions are dense: one for each write and each move",
      );
    }
    for (const proxy of this.proxies) {
      assert.equal(proxy.handedOut, proxy.delivered - proxy.startedAt, "a watcher gets every revision once");
    }
    if (this.scenario.sole && this.beganEmpty && !this.scenario.moves)
      assert.ok(
        [...this.writes.values()].every(({ key }) => key !== "log"),
        "the log's own writes get no revision in a store that began empty",
      );
    if (this.proxies.some(({ timeline }) => timeline.isSole)) return;
    const states = this.proxies.map(({ timeline }) => ({
      compacted: timeline.compactRevision,
      placements: [...timeline.placements].map(([lease, shards]) => [lease, [...shards].sort()]),
    }));
    for (const state of states) {
      state.placements.sort(([a], [b]) => (a < b ? -1 : 1));
      assert.deepEqual(state, states[0]);
    }
  }

  /**
   * Folds the whole log, which the simulated host never forgets, and compares it with all proxies and with what they were told
   * about their proposals. Returns the number of moves.
   */
  private checkChanges(): number {
    const { state, entries } = this.wholeLog();
    let fold = StoreFold.of(this.scenario.host, state);
    let moves = 0;
    const valid = new Map<number, string>();
    if (fold.isSole) fold.beginSole(firstBase(this.shards[0], 1)!.revision);
    for (const { hostRevision, entry, next, soleEnd } of entries) {
      if (soleEnd !== undefined) fold.endSole(hostRevision, soleEnd);
      if (entry === undefined) fold.hide(hostRevision);
      if (next !== undefined) fold = fold.rehosted(next.shard, hostRevision);
      if (entry === undefined) continue;
      const { position } = fold.apply(decodeEntry(entry.value), hostRevision);
      if (position === 0) continue;
      const text = encodeChange(decodeEntry(entry.value).change!);
      valid.set(position, text);
      if (text.startsWith('{"kind":"move"')) moves++;
    }
    if (fold.isSole) fold.reach(this.lastWrite(0));
    const truth = placementText(fold.store);
    for (const { timeline } of this.proxies) {
      assert.equal(
        placementText(timeline.log.fold.store),
        truth,
        "proxies agree with the log about the placement",
      );
      assert.equal(timeline.head, fold.head, "proxies agree with the log about the head");
    }
    for (const [name, proposals] of this.proposals) {
      const logged = entries.filter(
        ({ entry }) => entry?.key.includes(`/${name}/`) && decodeEntry(entry.value).change !== undefined,
      );
      assert.ok(logged.length <= proposals.length, "a change is logged at most once");
      for (const { change, position } of proposals) {
        if (position !== undefined)
          assert.equal(
            valid.get(position),
            encodeChange(change),
            "a change has the position that was reported",
          );
      }
      const positions = proposals.flatMap(({ position }) => position ?? []);
      assert.equal(new Set(positions).size, positions.length, "each change has its own position");
    }
    return moves;
  }

  /** The first base, and all revisions of the log above it on all its hosts, each with its entry if it has one. */
  private wholeLog(): { state: StoreState; entries: LogRevision[] } {
    let cluster = this.cluster(this.scenario.host);
    const { state } = decodeBase(firstBase(cluster, 1)!.value, () => undefined);
    const entries: LogRevision[] = [];
    for (let hosts = 1; ; hosts++) {
      const first = firstBase(cluster, hosts);
      if (first === undefined) break;
      const there = logOf(cluster, hosts, decodeBaseHead(first.value).covers);
      entries.push(...there);
      const next = there.at(-1)?.next;
      if (next === undefined) break;
      cluster = this.cluster(next.shard);
    }
    return { state, entries };
  }

  private lastWrite(shard: number): number {
    let last = 1;
    for (const write of this.writes.values()) {
      if (write.shard === shard) last = Math.max(last, write.shardRevision);
    }
    return last;
  }

  /** Called by each proxy for each revision that it shows to clients. */
  see(revision: number, shard: number, shardRevision: number, isSole: boolean): void {
    if (isSole && !this.beganEmpty) assert.equal(revision, shardRevision, "revisions are the shard's own");
    const write = this.writes.get(`${shard}/${shardRevision}`) ?? this.logWrite(shard, shardRevision);
    if (write === undefined)
      throw new Error(`revision ${revision} is shard ${shard} at ${shardRevision}: nobody's write`);
    const known = this.oracle.get(revision);
    if (known === undefined) this.oracle.set(revision, write);
    else assert.equal(known, write, `two proxies disagree about revision ${revision}`);
  }

  /**
   * The log's own writes on an earlier host that were not sealed when the log moved have revisions, and so have those in a sole
   * store.
   */
  private logWrite(shard: number, shardRevision: number): Write | undefined {
    const [change] = this.shards[shard].changesFrom(shardRevision);
    const { moves, sole } = this.scenario;
    if (!(moves || sole) || !change?.puts.some(({ key }) => key.startsWith("\0braid/"))) return undefined;
    const write = { shard, shardRevision, key: "log" };
    this.writes.set(`${shard}/${shardRevision}`, write);
    return write;
  }

  private checkObservations(): void {
    const history = new Map<string, number[]>();
    for (const revision of [...this.oracle.keys()].sort((a, b) => a - b)) {
      const { key } = this.oracle.get(revision)!;
      const list = history.get(key);
      if (list === undefined) history.set(key, [revision]);
      else list.push(revision);
    }
    const modAt = (key: string, revision: number): number =>
      (history.get(key) ?? []).findLast((mod) => mod <= revision) ?? 0;
    for (const seen of this.observations) {
      if (seen.kind === "put") {
        assert.equal(this.oracle.get(seen.revision), seen.write, "a put answers its own revision");
      } else if (seen.kind === "get") {
        assert.equal(
          seen.mod,
          modAt(seen.key, seen.revision),
          "a get answers the state at its header's revision",
        );
      } else {
        for (const [key, mod] of seen.mods) {
          assert.equal(mod, modAt(key, seen.revision), "a scan answers the state at its header's revision");
        }
      }
    }
    this.checkRealTime();
  }

  /** A call that was answered before another began must have a lower revision (writes), or at most the same (reads). */
  private checkRealTime(): void {
    for (const later of this.observations) {
      for (const earlier of this.observations) {
        if (earlier.end >= later.begin) continue;
        if (later.kind === "put") {
          assert.ok(later.revision > earlier.revision, "a write is above what was answered before it began");
          continue;
        }
        assert.ok(
          later.revision >= earlier.revision,
          "a header covers what was answered before the read began",
        );
        if (later.kind === "get" && earlier.kind === "put" && earlier.write.key === later.key) {
          assert.ok(later.mod >= earlier.revision, "a get sees a put that was answered before it began");
        }
      }
    }
  }
}

interface Proposed {
  readonly change: Change;
  /** Undefined when the change was not valid, when its outcome is unknown, or when its proxy died. */
  position: number | undefined;
}

/** The placement and its imports as text, to compare them. */
function placementText({ placement }: StoreState): string {
  return encodePlacement(placement) + encodeImports(placement, []).bytes.toString("hex");
}

interface LogRevision {
  readonly hostRevision: number;
  readonly entry: SimPut | undefined;
  /** Where the log continues from here. */
  readonly next: NextHost | undefined;
  /** Compaction of the base that ends a sole store; undefined for other revisions. */
  readonly soleEnd: number | undefined;
}

/** The first base that the log wrote on its host number `hosts`. */
function firstBase(cluster: SimEtcd, hosts: number): (SimPut & { revision: number }) | undefined {
  const bases = cluster
    .changesFrom(0)
    .flatMap(({ puts, revision }) =>
      puts.filter(({ key }) => key === "\0braid/base").map((put) => ({ ...put, revision })),
    );
  return bases.find(({ value }) => (decodeBaseHead(value).hosts ?? 1) === hosts);
}

/** All revisions of the log above `covers` on its host number `hosts`, up to the one that moves the log. */
function logOf(cluster: SimEtcd, hosts: number, covers: number): LogRevision[] {
  const found: LogRevision[] = [];
  for (const { revision, puts } of cluster.changesFrom(covers + 1)) {
    if (!puts.some(({ key, value }) => key.startsWith("\0braid/") && !isRaisedMark(key, value))) continue;
    const base = puts.find(({ key }) => key === "\0braid/base");
    const head = base && decodeBaseHead(base.value);
    const next = (head?.hosts ?? 1) === hosts ? head?.next : undefined;
    const soleEnd = head?.endsSole && head.compactRevision;
    found.push({ hostRevision: revision, entry: puts.find(({ key }) => isEntryKey(key)), next, soleEnd });
    if (next !== undefined) break;
  }
  return found;
}

const REFUSED = TxnResponse.encode({ succeeded: false });
const STORE = "00000000000000aa";
const HOST_MARK = `\0braid/mark/${STORE}`;
const KEYS = ["a1", "a2", "b1", "b2", "c1", "c2", "d1", "e1", "f1"];

/** One run of a proxy: the real timeline with minimal services. */
export class SimProxy {
  readonly timeline: SharedTimeline;
  readonly network: Network;
  ready = false;
  /** Newest revision that the watcher has handed out. */
  delivered = 1;
  /** Revision at which the watcher began. */
  startedAt = 1;
  /** Number of revisions whose events the watcher received. */
  handedOut = 0;
  private compared = 1;
  private proposing = 0;
  private readonly reached: number[];
  private readonly world: World;

  constructor(
    world: World,
    private readonly name: string,
  ) {
    this.world = world;
    const { scenario, mutation, scheduler, random, shards } = world;
    this.network = new Network(scheduler, random, scenario.faults);
    this.reached = shards.map(() => 1);
    const Log = mutation.log ?? ShortEpochLog;
    const Base = mutation.timeline ?? SharedTimeline;
    class SimTimeline extends Base {
      protected override createLog(...args: ConstructorParameters<typeof TimelineLog>): TimelineLog {
        return new Log(...args);
      }

      /** Puts also carry entries while appends are in flight, so that their order is as bad as it can be. */
      protected override get mayCarry(): boolean {
        return super.mayCarry || (this.log.canCarry && random.chance(0.5));
      }

      protected override pause(): number {
        return scenario.paced && random.chance(0.7) ? random.below(60) : super.pause();
      }
    }
    this.timeline = new SimTimeline(
      shards.length,
      {
        host: simHost(this.network, world.cluster(scenario.host), !mutation.unguarded),
        hostOf: ({ shard }) => simHost(this.network, world.cluster(shard), !mutation.unguarded),
        hostShard: scenario.host,
        proxy: name,
        map: mapText(shards.length),
        maps: world.maps,
        runtime: simRuntime(scheduler, random, () => this.network.alive),
        genesis: () =>
          this.network.call(() => ({
            revisions: shards.map(({ revision }) => revision),
            omitted: world.omitted,
            clusterIds: shards.map(() => "1"),
            ...(scenario.sole && { store: STORE }),
          })),
        accept: () => {},
      },
      (error) => world.fail(error),
    );
    this.timeline.onAdvance(() => this.guard(() => this.pump()));
  }

  start(): void {
    const { scenario } = this.world;
    this.timeline.open().then(
      () => {
        this.ready = true;
        this.watchShards();
        if (scenario.placed && !scenario.sole) this.timeline.log.requirePlacement().catch(() => {});
        this.guard(() => this.pump());
      },
      (error: unknown) => {
        if (!(error instanceof StatusError)) this.world.fail(error);
        this.world.scheduler.after(30, () => this.network.alive && this.start());
      },
    );
  }

  crash(): void {
    this.network.alive = false;
    this.timeline.close();
  }

  async operation(): Promise<void> {
    if (!this.ready) return;
    const { random } = this.world;
    if (this.world.scenario.changes && random.chance(0.2)) {
      await this.change();
      return;
    }
    if (this.world.scenario.moves && random.chance(0.12)) {
      await this.moveHost();
      return;
    }
    const dice = random.next();
    if (dice < 0.4) await this.put(random.pick(KEYS));
    else if (dice < 0.45) await Promise.all([this.put(random.pick(KEYS)), this.put(random.pick(KEYS))]);
    else if (dice < 0.55) await this.get(random.pick(KEYS));
    // In one turn, so that they share a read of the log's end.
    else if (dice < 0.65) await Promise.all([this.get(random.pick(KEYS)), this.get(random.pick(KEYS))]);
    else if (dice < 0.85) await this.scan();
    else if (dice < 0.88) await this.compact();
    // Places end a sole store.
    else if (dice < 0.93 && this.timeline.isSole && random.chance(0.9)) await this.get(random.pick(KEYS));
    else if (dice < 0.91)
      await this.timeline.place(BigInt(random.below(6)), random.below(this.reached.length));
    else if (dice < 0.93) await this.timeline.unplace(BigInt(random.below(6)));
    else if (dice < 0.96) this.world.putDirectly(random.pick(KEYS));
    else if (dice < 0.98) await this.prune();
    else this.world.hostEtcd.compact(this.world.hostEtcd.revision - random.below(20));
  }

  private async moveHost(): Promise<void> {
    const others = [-1, ...this.reached.keys()].filter((shard) => shard !== this.timeline.hostShard);
    const shard = this.world.random.pick(others);
    await this.timeline.log.moveTo({ shard, name: String(shard), endpoints: [], clusterId: "1" });
  }

  /** Seals the shard's current revision, whoever wrote it. */
  async sealAll(shard: number): Promise<void> {
    while (this.network.alive) {
      if (!this.ready) {
        await this.world.scheduler.sleep(10);
        continue;
      }
      try {
        const shardRevision = await this.network.call(() => this.world.shards[shard].revision);
        await this.timeline.seal(shard, shardRevision, true);
        return;
      } catch {
        await this.world.scheduler.sleep(20);
      }
    }
  }

  /** Proposes a change that fits the placement here, or one that is late. */
  private async change(): Promise<void> {
    const { change, seals } = this.nextChange();
    const proposed: Proposed = { change, position: undefined };
    const list = this.world.proposals.get(this.name);
    if (list === undefined) this.world.proposals.set(this.name, [proposed]);
    else list.push(proposed);
    this.proposing++;
    try {
      const position = await this.timeline.proposeChange(change, seals);
      proposed.position = position;
      if (position === undefined) return;
      assert.ok(this.timeline.placementPosition >= position, "a change is folded when it is answered");
      for (const [shard, shardRevision] of seals)
        assert.ok(this.timeline.isSealed(shard, shardRevision), "its seals are folded before");
    } finally {
      this.proposing--;
    }
  }

  /** True while a proposal has no outcome. */
  get isProposing(): boolean {
    return this.proposing > 0;
  }

  private nextChange(): { change: Change; seals: Seals } {
    const { random } = this.world;
    const { plan, mover, plans } = this.timeline.placement;
    const bare = (change: Change) => ({ change, seals: new Map<number, number>() });
    if (random.chance(0.15)) return bare({ kind: "claim" });
    if (random.chance(0.05)) return bare({ kind: "begin", mover });
    if (plan === undefined || random.chance(0.05)) {
      const count = this.reached.length;
      return bare({ kind: "plan", after: plans, map: mapText(1 + random.below(count)), shards: [] });
    }
    if (plan.frozen === undefined) {
      if (random.chance(0.15)) return bare({ kind: "turn back", plan: plan.number });
      if (compareBounds(plan.cursor, plan.up ? null : START) === 0)
        return bare({ kind: "done", plan: plan.number });
      const bounds = [START, Uint8Array.of(40), Uint8Array.of(90), Uint8Array.of(200), null];
      const ahead = bounds.filter((bound) => {
        const order = compareBounds(bound, plan.cursor);
        return plan.up ? order > 0 : order < 0;
      });
      const { number, cursor } = plan;
      return bare({ kind: "freeze", mover, plan: number, cursor, to: random.pick(ahead) });
    }
    const { position } = plan.frozen;
    if (random.chance(0.3)) return bare({ kind: "thaw", mover, freeze: position });
    return this.nextMove(mover, position);
  }

  /** A move with imports at shard revisions that no write has, and with seals of what the shards have reached. */
  private nextMove(mover: number, freeze: number): { change: Change; seals: Seals } {
    const { random } = this.world;
    const shards = this.world.shards.map((_, shard) => shard);
    const destinations = shards
      .filter(() => random.chance(0.5))
      .map((shard) => {
        const count = random.below(7);
        const numbers = Array.from({ length: count }, () => this.world.nextImport());
        return {
          shard,
          ready: this.reached[shard],
          twins: { shardRevisions: numbers, revisions: numbers.map(() => 1 + random.below(50)) },
          offsets: { lives: numbers, offsets: numbers.map(() => 1 + random.below(5)) },
        };
      });
    return {
      change: {
        kind: "move",
        mover,
        freeze,
        sources: shards.map((shard) => ({ shard, stop: this.reached[shard] })),
        destinations,
        ended: [],
      },
      seals: new Map(shards.map((shard) => [shard, this.reached[shard]])),
    };
  }

  private async put(key: string): Promise<void> {
    const begin = this.world.scheduler.now;
    const shard = this.world.shardOf(key);
    const shardRevision = await this.write(key);
    this.timeline.wrote(shard, shardRevision);
    if (!this.timeline.isSealed(shard, shardRevision)) await this.timeline.seal(shard, shardRevision, true);
    const revision = this.timeline.toRevision(shard, shardRevision);
    const write = this.world.writes.get(`${shard}/${shardRevision}`)!;
    this.world.observations.push({ kind: "put", write, revision, begin, end: this.world.scheduler.now });
  }

  private async write(key: string): Promise<number> {
    const shard = this.world.shardOf(key);
    const entry = await new Promise<CarriedEntry | undefined>((resolve) =>
      this.timeline.withEntry(shard, resolve),
    );
    return (entry && (await this.writeWith(entry, key))) ?? (await this.writeAlone(key));
  }

  /** The shard revision of a put that carries an entry; undefined if nothing was written. */
  private async writeWith(entry: CarriedEntry, key: string): Promise<number | undefined> {
    const { world } = this;
    const position = this.timeline.placementPosition;
    let response: Uint8Array | undefined;
    try {
      response = await this.network.call(() => world.putCarrying(key, entry.fields, position));
    } finally {
      entry.settle(response);
    }
    const { succeeded, header } = TxnResponse.decode(response);
    return succeeded ? header!.revision : undefined;
  }

  /** In a store that began as a sole one, writes compare gen. */
  private async writeAlone(key: string): Promise<number> {
    const { world } = this;
    if (!world.scenario.sole) return this.network.call(() => world.putDirectly(key));
    for (;;) {
      const position = this.timeline.placementPosition;
      const written = await this.network.call(() => (world.gen <= position ? world.putDirectly(key) : 0));
      if (written > 0) return written;
      await this.timeline.sync();
    }
  }

  private async get(key: string): Promise<void> {
    const begin = this.world.scheduler.now;
    const shard = this.world.shardOf(key);
    const etcd = this.world.shards[shard];
    const end = this.timeline.beginRead(shard);
    this.timeline.announceRead(shard);
    await new Promise<void>((resolve) => this.world.scheduler.after(0, resolve));
    const carry = this.timeline.carryEnd(shard);
    const read = this.network.call(() => ({ found: etcd.get(key), at: etcd.revision }));
    read.then(
      ({ at }) => carry?.(at),
      () => carry?.(undefined),
    );
    const { found, at } = await read;
    await new Promise<void>((resolve, reject) => {
      this.timeline.whenRead(shard, at, end, (error) => (error === undefined ? resolve() : reject(error)));
    });
    const revision = this.timeline.readRevision(shard, at);
    const mod = this.timeline.toRevision(shard, found?.modRevision ?? 0);
    this.world.observations.push({ kind: "get", key, revision, mod, begin, end: this.world.scheduler.now });
  }

  private async scan(): Promise<void> {
    const begin = this.world.scheduler.now;
    await this.timeline.sync();
    const revision = this.timeline.head;
    const cut = this.world.shards.map((_, shard) => this.timeline.cutAt(revision, shard));
    const found = await Promise.all(
      KEYS.map((key) => {
        const shard = this.world.shardOf(key);
        return this.network.call(() => this.world.shards[shard].get(key, cut[shard])?.modRevision ?? 0);
      }),
    );
    const mods = new Map(
      KEYS.map((key, n) => [key, this.timeline.toRevision(this.world.shardOf(key), found[n])]),
    );
    this.world.observations.push({ kind: "scan", revision, mods, begin, end: this.world.scheduler.now });
  }

  private async compact(): Promise<void> {
    // Old enough that no scan of this run reads a compacted revision, which is not the subject of this test.
    const revision = this.timeline.head - 10;
    if (revision <= this.timeline.compactRevision) return;
    // As the shard of a sole store is compacted without an entry. An entry would end the sole store.
    if (this.timeline.isSole && this.world.random.chance(0.9)) {
      this.timeline.compacted(revision);
      return;
    }
    const tookEffect = await this.timeline.compact(revision);
    assert.ok(this.timeline.compactRevision >= revision);
    if (!tookEffect) assert.ok(this.timeline.compactRevision >= revision);
  }

  private async prune(): Promise<void> {
    const at = this.timeline.compactRevision;
    const { log } = this.timeline;
    if (at === 0 || at <= log.base.prunedAt || this.timeline.isSole) return;
    const live = this.world.shards.map((etcd, shard) => {
      const keys = etcd.list("", this.timeline.lastAt(at, shard)).filter(({ key }) => !key.startsWith("\0"));
      const revisions = new Set(
        keys.flatMap(({ createRevision, modRevision }) => [createRevision, modRevision]),
      );
      return [...revisions].sort((a, b) => a - b);
    });
    await log.writeBase({ pruned: { table: pruneTable(log.fold.snapshot().table, at, live), at } });
  }

  /** Follows all shards as the watch hub does, and seals writes whose proxy has not. */
  private watchShards(): void {
    for (let shard = 0; shard < this.reached.length; shard++) {
      this.reached[shard] = this.timeline.cut(shard);
      this.follow(shard);
    }
    this.delivered = this.timeline.head;
    this.startedAt = this.timeline.head;
  }

  private follow(shard: number): void {
    const etcd = this.world.shards[shard];
    const changes = (all: readonly HostChange[]) => {
      const newest = all[all.length - 1].revision;
      this.reached[shard] = Math.max(this.reached[shard], newest);
      this.guard(() => this.pump());
      this.world.scheduler.after(this.world.random.below(SEAL_BY_WATCH), () => {
        if (!this.network.alive || this.timeline.isSealed(shard, newest)) return;
        if (all.some(({ puts }) => puts.some(({ key }) => !key.startsWith("\0")))) sealFirst(newest);
      });
    };
    // Elsewhere, what was proposed is sealed in the end. In a sole store, nothing is proposed.
    const sealFirst = (newest: number) => {
      this.timeline.seal(shard, newest, true).catch(() => {
        this.world.scheduler.after(10, () => this.timeline.isSole && this.network.alive && sealFirst(newest));
      });
    };
    const closed = () => this.world.scheduler.after(10, () => this.network.alive && this.follow(shard));
    // Simulated shards keep all user data. Only the host's log is compacted, which a watch on users' keys survives.
    const readable = { ...NO_COMPACTION(etcd), listen: etcd.listen.bind(etcd) } as unknown as SimEtcd;
    this.network.watch(readable, this.reached[shard] + 1, "", { changes, closed });
  }

  private pump(): void {
    if (!this.ready) return;
    this.compare();
    while (this.delivered < this.timeline.head) {
      // A move that a compaction has passed is forgotten. Only a watcher that is far behind asks for it.
      if (this.delivered + 1 < this.timeline.compactRevision && !this.knowsNext()) {
        this.delivered++;
        this.startedAt++;
        continue;
      }
      const { revision, shard, shardRevision } = this.timeline.runAt(this.delivered + 1);
      if (shard === NO_SHARD) {
        this.delivered = revision;
        this.startedAt++;
        continue;
      }
      const here = this.reached[shard] >= shardRevision;
      if (!here && !this.world.mutation.eagerWatch) break;
      if (here) this.handedOut++;
      this.delivered = revision;
    }
  }

  private knowsNext(): boolean {
    try {
      return this.timeline.runAt(this.delivered + 1).length > 0;
    } catch {
      return false;
    }
  }

  /** Reports every revision that this proxy knows and that is not pruned. */
  private compare(): void {
    for (; this.compared < this.timeline.head; this.compared++) {
      const run = this.timeline.log.fold.snapshot().table.runAt(this.compared + 1);
      if (run !== undefined) this.world.see(run.revision, run.shard, run.shardRevision, this.timeline.isSole);
    }
  }

  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.world.fail(error);
    }
  }
}

const NO_COMPACTION = (etcd: SimEtcd) => ({ compacted: 0, changesFrom: etcd.changesFrom.bind(etcd) });
