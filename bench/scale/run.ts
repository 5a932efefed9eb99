import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createRouter } from "../../src/routing/create.js";
import { PutRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import type { EtcdProcess } from "../../test/support/etcd.js";
import { Generator } from "../generator.js";
import type { Task, TaskResult } from "../load/task.js";
import { type ProxyProcess, startEtcds, startProxy } from "../peers.js";
import { type PutCounts, readPutCounts } from "../putCounts.js";
import { median } from "../statistics.js";
import type { ScaleOptions } from "./options.js";
import type { Quotas } from "./quota.js";

/** Connections that the writers share. */
const CONNECTIONS = 16;
/** Keys that are written in turn: 64 or more on each shard. */
const KEYS = 1_024;
/** A fresh proxy spends much of its time compiling. */
const WARM_UP_MS = 3_000;

/** A store that is measured, or one etcd without a proxy. */
export interface Place {
  /** 0 without a proxy. */
  readonly shards: number;
  /** Processes of the proxy; 0 without one. */
  readonly workers: number;
}

/** Medians over the slices of one load on one store. Shares are of a core, 0 to 1. */
export interface ScaleFigures extends Place {
  readonly writers: number;
  readonly valueBytes: number;
  /** Watchers of all keys. */
  readonly watchers: number;
  readonly putsPerSecond: number;
  /** Bytes of keys and values that were stored. */
  readonly bytesPerSecond: number;
  readonly eventsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Entries that the proxy appended to the timeline per second. */
  readonly appendsPerSecond: number;
  /** Time that the host took for one, in milliseconds. */
  readonly appendMs: number;
  /** CPU time of the timeline host, of the busiest process of the proxy, of all its processes, and of the load generator. */
  readonly cpu: {
    readonly host: number;
    readonly proxy: number;
    readonly proxies: number;
    readonly load: number;
    /** Of all shards together. */
    readonly shards: number;
  };
  /** Failed requests of all slices. */
  readonly errors: number;
}

/** Measures everything, one store after another. Ends all processes that it started, also on failure. */
export async function runScale(
  options: ScaleOptions,
  dir: string,
  quotas: Quotas,
  say: (text: string) => void,
): Promise<ScaleFigures[]> {
  const figures: ScaleFigures[] = [];
  const generator = new Generator();
  try {
    for (const place of places(options)) {
      say(
        place.workers === 0
          ? "one etcd"
          : `shards: ${place.shards}, processes of the proxy: ${place.workers}`,
      );
      figures.push(...(await measure(place, options, dir, quotas, generator)));
    }
  } finally {
    generator.stop();
  }
  return figures;
}

/** Workers matter where the proxy's core is the limit, so only the largest store has more than the fewest. */
function places({ shards, workers }: ScaleOptions): Place[] {
  const largest = shards.at(-1);
  return [
    { shards: 0, workers: 0 },
    ...shards.map((count) => ({ shards: count, workers: workers[0] })),
    ...(largest === undefined ? [] : workers.slice(1).map((count) => ({ shards: largest, workers: count }))),
  ];
}

async function measure(
  place: Place,
  options: ScaleOptions,
  dir: string,
  quotas: Quotas,
  generator: Generator,
): Promise<ScaleFigures[]> {
  const folder = join(dir, `scale-${place.shards}-${place.workers}`);
  mkdirSync(folder);
  const running = new Running(place);
  try {
    await running.start(folder);
    // Before the quota, so that it does not take long.
    const warmUp = { writers: Math.max(...options.writers), valueBytes: options.valueBytes[0], watchers: 0 };
    await running.put(generator, warmUp, WARM_UP_MS);
    quotas.limit(running.etcdPids, options.share / 100);
    const figures: ScaleFigures[] = [];
    for (const load of loads(place, options)) {
      await running.put(generator, load, options.slice / 2);
      const samples: Sample[] = [];
      for (let i = 0; i < options.rounds; i++)
        samples.push(await running.put(generator, load, options.slice));
      figures.push(summary(place, load, samples));
    }
    return figures;
  } finally {
    await running.stop();
  }
}

type Load = Pick<ScaleFigures, "writers" | "valueBytes" | "watchers">;

function loads(place: Place, { shards, writers, valueBytes, watchers }: ScaleOptions): Load[] {
  // One etcd also gets the part of the writers that each shard has: the shards cannot do better than such etcds.
  const parts = place.shards > 0 ? [1] : [1, ...shards];
  const counts = new Set(writers.flatMap((count) => parts.map((part) => partOf(count, part))));
  const plain = [...counts].flatMap((count) =>
    valueBytes.map((bytes) => ({ writers: count, valueBytes: bytes, watchers: 0 })),
  );
  // One load shows how watch events grow.
  const watched = watchers > 0 ? [{ writers: writers.at(-1)!, valueBytes: valueBytes[0], watchers }] : [];
  return [...plain, ...watched];
}

/** The writers that each of so many shards has. */
export const partOf = (writers: number, shards: number): number => Math.max(1, Math.round(writers / shards));

interface Sample {
  readonly result: TaskResult;
  readonly appends: Pick<PutCounts, "appends" | "appendSeconds">;
}

const NO_APPENDS = { appends: 0, appendSeconds: 0 };

/** The processes of one store. */
class Running {
  private etcds: EtcdProcess[] = [];
  private proxy: ProxyProcess | undefined;
  private keys: readonly Buffer[] = [];

  constructor(private readonly place: Place) {}

  async start(dir: string): Promise<void> {
    const { shards, workers } = this.place;
    this.keys = await evenKeys(shards);
    // The first is the timeline host: with one that is a shard, that shard would have more work than others.
    this.etcds = await startEtcds("etcd", shards + 1, { dir, fsync: true });
    if (shards === 0) return;
    const [host, ...rest] = this.etcds;
    // Without warnings of slow requests, of which there are many by intention.
    this.proxy = await startProxy({ name: "proxy", dir, shards: rest, host, workers, logLevel: "error" });
  }

  async stop(): Promise<void> {
    await this.proxy?.stop();
    await Promise.all(this.etcds.map((etcd) => etcd.remove()));
  }

  get etcdPids(): number[] {
    return this.etcds.map(({ pid }) => pid);
  }

  private get pids(): Record<string, number> {
    const [first, ...rest] = this.etcdPids;
    const shards = rest.map((pid, i) => [`shard-${i}`, pid]);
    return {
      [rest.length === 0 ? "shard" : "host"]: first,
      ...Object.fromEntries(shards),
      ...this.proxy?.pids,
    };
  }

  async put(generator: Generator, load: Load, milliseconds: number): Promise<Sample> {
    const port = this.proxy?.port ?? this.etcds[0].port;
    const task: Task = {
      kind: "unary",
      port,
      pids: this.pids,
      milliseconds,
      path: KV.Put,
      requests: requests(this.keys, load.valueBytes),
      connections: Math.min(CONNECTIONS, load.writers),
      inFlight: Math.max(1, Math.round(load.writers / CONNECTIONS)),
      leastBytes: 8,
      watchers: load.watchers,
    };
    const before = await this.appends();
    const result = await generator.run(task);
    const after = await this.appends();
    return {
      result,
      appends: {
        appends: after.appends - before.appends,
        appendSeconds: after.appendSeconds - before.appendSeconds,
      },
    };
  }

  private appends(): Promise<Sample["appends"]> {
    return this.proxy === undefined ? Promise.resolve(NO_APPENDS) : readPutCounts(this.proxy.port);
  }
}

function summary(place: Place, load: Load, samples: readonly Sample[]): ScaleFigures {
  const middle = (value: (sample: Sample) => number): number => median(samples.map(value));
  const rate = (count: (sample: Sample) => number): number =>
    middle((sample) => count(sample) / sample.result.seconds);
  const cpu = (prefix: string, combine: (all: number[]) => number): number =>
    middle(({ result }) => {
      const chosen = Object.entries(result.cpu).filter(([name]) => name.startsWith(prefix));
      return combine(chosen.map(([, microseconds]) => microseconds / 1e6 / result.seconds));
    });
  const sum = (all: number[]): number => all.reduce((total, each) => total + each, 0);
  const putsPerSecond = rate(({ result }) => result.operations);
  return {
    ...place,
    ...load,
    putsPerSecond,
    bytesPerSecond: putsPerSecond * (load.valueBytes + KEY_BYTES),
    eventsPerSecond: rate(({ result }) => result.events ?? 0),
    p50Ms: middle(({ result }) => result.p50Ms),
    p99Ms: middle(({ result }) => result.p99Ms),
    appendsPerSecond: rate(({ appends }) => appends.appends),
    appendMs: middle(({ appends }) =>
      appends.appends === 0 ? 0 : (appends.appendSeconds / appends.appends) * 1_000,
    ),
    cpu: {
      host: cpu("host", sum),
      proxy: cpu("proxy", (all) => Math.max(0, ...all)),
      proxies: cpu("proxy", sum),
      load: cpu("load", sum),
      shards: cpu("shard", sum),
    },
    errors: samples.reduce((total, { result }) => total + result.errors, 0),
  };
}

/** Of a key. */
const KEY_BYTES = 16;

/**
 * Keys that the default rule spreads evenly over the shards, in an order that favours none. With all keys, the fullest shard
 * would have a little more than its part, by chance.
 */
async function evenKeys(shards: number): Promise<Buffer[]> {
  const names = Array.from({ length: Math.max(1, shards) }, (_, i) => ({ name: `shard-${i}`, weight: 1 }));
  const router = await createRouter({ shards: names, rules: [] });
  const each = Math.ceil(KEYS / names.length);
  const counts = names.map(() => 0);
  const keys: Buffer[] = [];
  for (let n = 0; keys.length < each * names.length; n++) {
    const key = Buffer.from(`/${String(n).padStart(KEY_BYTES - 5, "0")}/key`);
    if (++counts[router.shardOf(key)] <= each) keys.push(key);
  }
  return keys;
}

function requests(keys: readonly Buffer[], valueBytes: number): readonly string[] {
  const value = Buffer.alloc(valueBytes, "value ");
  return keys.map((key) => Buffer.from(PutRequest.encode({ key, value })).toString("base64"));
}
