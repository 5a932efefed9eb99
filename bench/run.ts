import { Generator } from "./generator.js";
import type { Task, TaskResult } from "./load/task.js";
import type { Options } from "./options.js";
import { type Peer, type PeerName, startPeer } from "./peers.js";
import { type Activity, residentMemory } from "./processes.js";
import { type PutSplit, splitPuts } from "./putCounts.js";
import { median } from "./statistics.js";
import { isMeasured, preload, type Workload, type WorkloadKind, workloads } from "./workloads.js";

/** Medians over the rounds of one workload on one peer. Times per operation: a request, or a delivered event. */
export interface Figures {
  readonly kind: WorkloadKind;
  readonly load: string;
  readonly peer: PeerName;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Microseconds of CPU time per operation: of the proxy (0 if there is none), of all etcds, of the load generator. */
  readonly cpu: { readonly proxy: number; readonly etcd: number; readonly load: number };
  /** The proxy's work, if there is one. */
  readonly proxyWork?: ProxyWork;
  /** For puts through a timeline; the median of each. */
  readonly put?: PutSplit;
  /** Resident memory of the proxy at the end of a slice, in bytes. */
  readonly proxyMemory?: number;
  /** The same at the end of the workload's first turn: with watchers, of a fresh proxy. */
  readonly firstMemory?: number;
  /** Bytes of resident memory per watcher: the maximum of all rounds, because later rounds reuse free memory. */
  readonly watcherBytes?: number;
  /** Failed requests in all rounds. */
  readonly errors: number;
  /** Reasons of rounds without results. */
  readonly failures: readonly string[];
}

/** A proxy's work per operation: where its CPU time goes. */
export interface ProxyWork {
  /** Share of its CPU time in the kernel, 0 to 1. */
  readonly kernelShare: number;
  /** Calls that read or write, mostly sockets. */
  readonly reads: number;
  readonly writes: number;
  /** How often one of its threads waits and must be woken. */
  readonly waits: number;
}

export interface Outcome {
  readonly figures: readonly Figures[];
  /** Resident memory of the proxies after the start, before any load, in bytes. */
  readonly idleMemory: Readonly<Partial<Record<PeerName, number>>>;
}

interface Sample {
  readonly result: TaskResult;
  readonly put: PutSplit | undefined;
}

/**
 * Calls after which Node.js has compiled the functions of a load. In the first thousands, it spends more time on compiling than on
 * the calls; a proxy that runs for days does not.
 */
const WARM_UP_CALLS = 8_000;

/** Whether the peer's program is compiled before it runs. */
const isCompiledBefore = (peer: PeerName): boolean => peer === "direct" || peer === "grpc-proxy";

/** Runs everything, and ends all processes that it started, also on failure. `say` receives the progress. */
export async function runBench(options: Options, dir: string, say: (text: string) => void): Promise<Outcome> {
  const chosen = workloads(options).filter(({ kind }) => options.only.includes(kind));
  const outcomes: Outcome[] = [];
  const generator = new Generator();
  try {
    // Peers that are not compared with each other do not run at the same time, because even idle etcds cost something.
    for (const peers of new Set(chosen.map((workload) => workload.peers))) {
      const wanted = options.peers.filter((name) => peers.includes(name));
      const group = chosen.filter((workload) => workload.peers === peers);
      outcomes.push(await runGroup(group, wanted, generator, options, dir, say));
    }
  } finally {
    generator.stop();
  }
  return {
    figures: outcomes.flatMap(({ figures }) => figures),
    idleMemory: Object.assign({}, ...outcomes.map(({ idleMemory }) => idleMemory)),
  };
}

/** Groups of workloads with the same peers. */
async function runGroup(
  group: readonly Workload[],
  names: readonly PeerName[],
  generator: Generator,
  options: Options,
  dir: string,
  say: (text: string) => void,
): Promise<Outcome> {
  const peers: Peer[] = [];
  try {
    for (const name of names) {
      say(`starting ${name}`);
      peers.push(await startPeer(name, { dir, fsync: options.fsync }));
    }
    const idleMemory = Object.fromEntries(
      peers.flatMap(({ name, pids }) => {
        const proxies = Object.entries(pids).filter(([process]) => process.startsWith("proxy"));
        const bytes = proxies.reduce((sum, [, pid]) => sum + residentMemory(pid), 0);
        return bytes > 0 ? [[name, bytes]] : [];
      }),
    );
    for (const peer of peers) await preload(peer);
    const slots = group.flatMap((workload) =>
      peers.filter(({ name }) => isMeasured(workload, name)).map((peer) => new Slot(workload, peer)),
    );
    // Watchers first, to measure their memory in a fresh proxy.
    if (slots.length > 0) say(`warming up: ${[...new Set(group.map(({ kind }) => kind))].join(", ")}`);
    const warmUp = [...slots].sort((a, b) => Number(b.isWatch) - Number(a.isWatch));
    for (const slot of warmUp) await slot.warmUp(generator, options.slice, options.warmUp);
    for (let round = 0; round < options.rounds && slots.length > 0; round++) {
      say(`round ${round + 1} of ${options.rounds}`);
      for (const slot of slots) await slot.run(generator, options.slice, true);
    }
    return { figures: slots.map((slot) => slot.figures()), idleMemory };
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
  }
}

/** The sum over all processes of one kind: a proxy and its workers, or the etcds. */
function sumOf<T>(values: Readonly<Record<string, T>>, prefix: string, value: (each: T) => number): number {
  const chosen = Object.entries(values).filter(([process]) => process.startsWith(prefix));
  return chosen.reduce((sum, [, each]) => sum + value(each), 0);
}

const ofAll = (values: Readonly<Record<string, number>>, prefix: string): number =>
  sumOf(values, prefix, (value) => value);

/** Mean latency of requests without pauses between them, in milliseconds. */
const meanLatency = (task: Task, { seconds, operations }: TaskResult): number =>
  task.kind === "unary" ? ((task.connections * task.inFlight * seconds) / operations) * 1_000 : Number.NaN;

/** One workload on one peer, and its measurements. */
class Slot {
  private readonly samples: Sample[] = [];
  private readonly failures: string[] = [];
  private first: TaskResult | undefined;

  constructor(
    private readonly workload: Workload,
    private readonly peer: Peer,
  ) {}

  /** Runs without measuring: once, and with a proxy in Node.js until it has compiled what this load needs. Times in milliseconds. */
  async warmUp(generator: Generator, slice: number, longest: number): Promise<void> {
    const { workload, peer } = this;
    const end = performance.now() + longest;
    let calls = 0;
    do {
      const operations = await this.run(generator, slice, false);
      if (operations === 0) return;
      calls += operations / workload.operationsPerCall;
    } while (!isCompiledBefore(peer.name) && calls < WARM_UP_CALLS && performance.now() < end);
  }

  get isWatch(): boolean {
    return this.workload.kind === "watch";
  }

  /** Resolves to the number of operations. */
  async run(generator: Generator, milliseconds: number, measured: boolean): Promise<number> {
    const { workload, peer } = this;
    const task = workload.task(peer, milliseconds * workload.weight);
    try {
      const before = workload.kind === "put" ? await peer.putCounts?.() : undefined;
      const result = await generator.run(task);
      this.first ??= result;
      const put = before && splitPuts(before, await peer.putCounts!(), meanLatency(task, result));
      if (measured && result.operations > 0) this.samples.push({ result, put });
      if (result.operations === 0) this.failures.push(`no request of ${result.errors} succeeded`);
      return result.operations;
    } catch (error) {
      this.failures.push((error as Error).message);
      return 0;
    }
  }

  figures(): Figures {
    const { workload, peer, samples } = this;
    const middle = (value: (sample: Sample) => number): number => median(samples.map(value));
    const cpu = (prefix: string): number =>
      middle(({ result }) => ofAll(result.cpu, prefix) / result.operations);
    return {
      kind: workload.kind,
      load: workload.load,
      peer: peer.name,
      perSecond: middle(({ result }) => result.operations / result.seconds),
      p50Ms: middle(({ result }) => result.p50Ms),
      p99Ms: middle(({ result }) => result.p99Ms),
      cpu: {
        proxy: cpu("proxy"),
        etcd: cpu("etcd"),
        load: cpu("load"),
      },
      ...(samples[0]?.put !== undefined && { put: this.putSplit() }),
      ...(peer.pids.proxy !== undefined && {
        proxyMemory: middle(({ result }) => ofAll(result.memory, "proxy")),
        proxyWork: this.proxyWork(),
        ...(this.first && { firstMemory: ofAll(this.first.memory, "proxy") }),
      }),
      ...(samples[0]?.result.watcherBytes !== undefined && {
        watcherBytes: Math.max(...samples.map(({ result }) => result.watcherBytes ?? 0)),
      }),
      errors: samples.reduce((sum, { result }) => sum + result.errors, 0),
      failures: this.failures,
    };
  }

  private putSplit(): PutSplit {
    const middle = (field: keyof PutSplit): number =>
      median(this.samples.map(({ put }) => put?.[field] ?? 0));
    return {
      appendsPer1000: middle("appendsPer1000"),
      appendMs: middle("appendMs"),
      totalMs: middle("totalMs"),
      shardMs: middle("shardMs"),
      sealMs: middle("sealMs"),
      restMs: middle("restMs"),
    };
  }

  private proxyWork(): ProxyWork {
    const perOperation = (field: keyof Activity): number =>
      median(
        this.samples.map(
          ({ result }) => sumOf(result.activity, "proxy", (each) => each[field]) / result.operations,
        ),
      );
    const [user, system] = [perOperation("userTicks"), perOperation("systemTicks")];
    return {
      kernelShare: system / (user + system),
      reads: perOperation("reads"),
      writes: perOperation("writes"),
      waits: perOperation("waits"),
    };
  }
}
