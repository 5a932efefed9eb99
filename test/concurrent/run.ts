import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { createRouter } from "../../src/routing/create.js";
import { DEFAULT_RULES } from "../../src/routing/map.js";
import { Random } from "../kv/model.js";
import { type EtcdProcess, startCluster, startEtcds } from "../support/etcd.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { check, TRUTH } from "./check.js";
import type { Call, History, Outcome, Range, WatchSession } from "./history.js";
import { nativeChanges, nativeState } from "./native.js";
import { torment } from "./nemesis.js";
import { Planner } from "./planner.js";
import { pause, Recorder } from "./recorder.js";
import { SMALL_STEPS } from "./small.js";
import { StreamRecorder, type Wanted } from "./watcher.js";
import { groupRange, keysOf, WHOLE, Worker } from "./workload.js";

export interface RunOptions {
  readonly seed: number;
  /** How long clients are at work and processes die, seconds. */
  readonly seconds: number;
  readonly compactions: boolean;
  /** Members of the timeline host of its own; 0 keeps the timeline on the first shard. */
  readonly hostMembers: number;
  /** Processes behind each proxy's port, among which clients' connections are dealt out. */
  readonly workers: number;
  /** True: keys move between shards all the time, by one plan after the other. */
  readonly plans: boolean;
}

/** All but the last are written to: only what is told of the others' writes makes the header of a read of that one newer. */
const SHARDS = 4;
const GROUPS_PER_SHARD = 2;
/** In a run with plans: shards at the beginning, with the groups of as many shards as usual, and all that plans may use. */
const FIRST_SHARDS = 2;
const POSSIBLE_SHARDS = 5;
const CLIENTS = 6;
/** How long all watchers may take to see the end of the history, and a leap's watchers what they missed, ms. */
const PATIENCE = 60_000;
const LEAP_INTERVAL = 1_500;
const SHOWN_FAULTS = 5;

/** What a run has done, for the test's report. */
export interface Summary {
  readonly [what: string]: number;
}

/**
 * Several clients and watchers on two proxies over several shards whose processes are killed and stopped meanwhile.
 * Rejects when the history is not one of a single etcd, with the file that it was written to.
 */
export async function run(options: RunOptions): Promise<Summary> {
  const { workers, hostMembers, plans } = options;
  const host = hostMembers > 0 ? await startCluster(hostMembers, { name: "host" }) : undefined;
  const config = (proxy: number) => ({
    workers,
    ...(host && { timeline: { endpoints: rotate(host.endpoints, proxy) } }),
  });
  const etcds = await startEtcds(plans ? POSSIBLE_SHARDS : SHARDS);
  const backends = plans ? etcds.slice(0, FIRST_SHARDS) : etcds;
  const env = plans ? SMALL_STEPS : {};
  let store: TestStore | undefined;
  try {
    store = await startStore({ backends, proxies: 2, config, env });
    const stage = await Stage.open(options, store, etcds, host?.members ?? []);
    return await stage.play();
  } finally {
    await store?.remove();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
    await host?.remove();
  }
}

/** Proxies that are given their endpoints in different orders mostly use different ones. */
const rotate = <T>(list: readonly T[], by: number): T[] => list.map((_, i) => list[(i + by) % list.length]!);

class Stage {
  private readonly calls: Call[] = [];
  private readonly sessions: WatchSession[] = [];
  private readonly endpoints: readonly string[];
  private readonly recorders: Recorder[] = [];
  private readonly streams: StreamRecorder[] = [];
  private readonly random: Random;
  private compacted = 1;
  private done: string[] = [];

  private constructor(
    private readonly options: RunOptions,
    private readonly store: TestStore,
    /** All that are shards, or may become shards. */
    private readonly etcds: readonly EtcdProcess[],
    /** Members of the timeline host, if it is no shard. */
    private readonly host: readonly EtcdProcess[],
    private readonly groups: readonly string[],
    /** A group that nobody writes to, on a shard of its own. */
    private readonly quiet: string,
    private readonly shards: Readonly<Record<string, number>>,
    private readonly planner: Planner | undefined,
  ) {
    this.endpoints = store.proxies.map(({ endpoint }) => endpoint);
    this.random = new Random(options.seed);
  }

  static async open(
    options: RunOptions,
    store: TestStore,
    etcds: readonly EtcdProcess[],
    host: readonly EtcdProcess[],
  ): Promise<Stage> {
    const entries = store.shards.map((_, i) => ({ name: `shard${i}`, weight: 1 }));
    const router = await createRouter({ shards: entries, rules: DEFAULT_RULES });
    const shardOf = (key: string) => router.shardOf(Buffer.from(key, "latin1"));
    const groupsPerShard = (GROUPS_PER_SHARD * SHARDS) / entries.length;
    const byShard: string[][] = entries.map(() => []);
    for (let n = 0; byShard.some((groups) => groups.length < groupsPerShard); n++) {
      const group = `/g${n}/`;
      const groups = byShard[shardOf(group)];
      if (groups.length < groupsPerShard) groups.push(group);
    }
    // Plans move this one, too.
    const quiet = options.plans ? byShard[0].pop()! : byShard.pop()![0];
    // Neighbours in the list are on different shards.
    const groups = Array.from({ length: groupsPerShard }, (_, i) => byShard.map((list) => list[i])).flat();
    const used = groups.filter((group) => group !== undefined);
    const shards = Object.fromEntries([...used, quiet].flatMap(keysOf).map((key) => [key, shardOf(key)]));
    const planner = options.plans
      ? await Planner.open({
          etcds,
          isHost: host.length === 0,
          proxies: store.proxies,
          groups: used,
          keys: Object.keys(shards),
          random: new Random(options.seed + 1),
        })
      : undefined;
    return new Stage(options, store, etcds, host, used, quiet, shards, planner);
  }

  async play(): Promise<Summary> {
    try {
      const truth = this.watchAll();
      await this.work(truth);
      const head = await this.settle();
      await this.endWatches(head);
      const { calls, sessions, shards, etcds, planner } = this;
      const native = planner ? etcds.map(() => []) : await Promise.all(etcds.map(nativeChanges));
      const plans = planner && {
        from: planner.from,
        moves: planner.moves,
        state: await Promise.all(etcds.map(nativeState)),
      };
      const history: History = { calls, sessions, shards, head, native, ...(plans && { plans }) };
      const faults = [...(planner?.faults ?? []), ...check(history)];
      if (faults.length > 0) throw this.failure(faults, history);
      return this.summary(head);
    } finally {
      for (const each of [...this.recorders, ...this.streams]) each.close();
      this.planner?.close();
    }
  }

  /** Opens the watches that last as long as the run. Answers the one whose events are the truth. */
  private watchAll(): StreamRecorder {
    const [first, second, third] = this.groups;
    const whole = (watcher: string, prevKv: boolean, from: number): Wanted => ({
      watcher,
      ...WHOLE,
      prevKv,
      from,
    });
    const truth = this.stream(0, [whole(TRUTH, true, 2)]);
    this.stream(1, [
      whole("whole", false, 0),
      { watcher: "group", ...groupRange(first), prevKv: true, from: 0 },
    ]);
    this.stream(0, [
      { watcher: "key", key: keysOf(second)[0], end: "", prevKv: true, from: 2 },
      { watcher: "other key", key: keysOf(third)[1], end: "", prevKv: false, from: 0 },
      { watcher: "groups", key: second, end: "/h", prevKv: true, from: 0 },
    ]);
    return truth;
  }

  private stream(proxy: number, wanted: readonly Wanted[]): StreamRecorder {
    const random = new Random(this.random.below(2 ** 31));
    const stream = new StreamRecorder(this.endpoints, proxy, wanted, random, this.sessions);
    this.streams.push(stream);
    return stream;
  }

  private recorder(name: string, proxy: number): Recorder {
    const recorder = new Recorder(name, this.endpoints, proxy, this.calls);
    this.recorders.push(recorder);
    return recorder;
  }

  /** Clients work and processes die until the time is over. */
  private async work(truth: StreamRecorder): Promise<void> {
    const end = performance.now() + this.options.seconds * 1_000;
    const over = () => performance.now() > end;
    const { groups, quiet, random, options, host, store, etcds, planner } = this;
    const scene = { groups, quiet, over, compacted: () => this.compacted };
    const workers = Array.from({ length: CLIENTS }, (_, i) => {
      return new Worker(this.recorder(`c${i}`, i % 2), new Random(random.below(2 ** 31)), scene).run();
    });
    // One at each proxy.
    const lookers = [0, 1].map((proxy) =>
      new Worker(
        this.recorder(`looker ${proxy}`, proxy),
        new Random(random.below(2 ** 31)),
        scene,
      ).watchQuiet(),
    );
    const compactor = this.recorder("compactor", 0);
    const compact = async () => {
      // What the truth has not been told yet must stay.
      const revision = truth.watermark - random.below(200);
      if (revision <= this.compacted) return;
      this.compacted = revision;
      await compactor.call({ kind: "compact", revision });
    };
    const fate = torment(new Random(random.below(2 ** 31)), {
      etcds: [...etcds, ...host],
      host: host.length > 1 ? host : [],
      proxies: store.proxies,
      compact: options.compactions ? compact : undefined,
      over,
      plans: planner,
    });
    const wander = this.wander(truth, over);
    [this.done] = await Promise.all([fate, planner?.run(over), wander, ...workers, ...lookers]);
    await planner?.settle();
  }

  /** A watcher that goes away again and again and comes back for what is long past. */
  private async wander(truth: StreamRecorder, over: () => boolean): Promise<void> {
    const [, group] = this.groups;
    const stream = this.stream(1, [
      { watcher: "wanderer", ...WHOLE, prevKv: true, from: 0 },
      { watcher: "group wanderer", ...groupRange(group), prevKv: true, from: 0 },
    ]);
    while (!over()) {
      await pause(LEAP_INTERVAL);
      stream.leap(() => Math.max(1, truth.watermark - this.random.below(300)));
    }
  }

  /** Waits until nothing changes any more; answers the newest revision. */
  private async settle(): Promise<number> {
    const recorder = this.recorder("last", 0);
    const read = async (range: { key: string; end: string }): Promise<Outcome & { kind: "answered" }> => {
      const op: Range = { kind: "range", ...range, revision: 0, limit: 0, serializable: false };
      let outcome = await recorder.call(op);
      await until(`${range.key} can be read again`, async () => {
        if (outcome.kind !== "answered") outcome = await recorder.call(op);
        return outcome.kind === "answered";
      });
      return outcome as Outcome & { kind: "answered" };
    };
    await until("no key has a lease", async () => {
      const { answer } = await read(WHOLE);
      return answer.kind === "range" && answer.kvs.every(({ lease }) => lease === "0");
    });
    // Reads of single shards give all that they hold its place.
    for (const group of this.groups) await read(groupRange(group));
    return (await read(WHOLE)).revision;
  }

  private async endWatches(head: number): Promise<void> {
    const from = Math.max(2, this.compacted);
    for (const proxy of [0, 1])
      this.stream(proxy, [{ watcher: `replay ${proxy}`, ...WHOLE, prevKv: true, from }]);
    // Those that do not come to the end are faults that the check names.
    await Promise.all(this.streams.map((stream) => stream.reaches(head, PATIENCE)));
    for (const stream of this.streams) stream.close();
  }

  private failure(faults: readonly string[], history: History): Error {
    const file = join(tmpdir(), `braid-concurrent-${this.options.seed}.json`);
    const logs = this.store.proxies.map((proxy) => proxy.logs());
    const done = [...this.done, ...(this.planner?.done ?? [])];
    writeFileSync(file, JSON.stringify({ options: this.options, faults, done, logs, history }));
    const shown = faults.slice(0, SHOWN_FAULTS).join("\n");
    return new Error(`${faults.length} faults:\n${shown}\nall of it, and the history: ${file}`);
  }

  private summary(head: number): Summary {
    const count = (kind: Outcome["kind"]) => this.calls.filter(({ outcome }) => outcome.kind === kind).length;
    return {
      revisions: head,
      answered: count("answered"),
      refused: count("refused"),
      unknown: count("unknown"),
      sessions: this.sessions.length,
      frames: this.sessions.reduce((sum, { frames }) => sum + frames.length, 0),
      strokes: this.done.length,
      plans: this.planner?.ended ?? 0,
      turnedBack: this.planner?.turnedBack ?? 0,
      moves: this.planner?.moves.length ?? 0,
    };
  }
}
