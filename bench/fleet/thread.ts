/*
 * Some proxies of a fleet, as far as the timeline needs them: each has its connection to the host, its fold of the log, and its
 * appends. Runs as a worker thread. The threads share the shards, which are counters: a write takes the next revision.
 */
import { parentPort, threadId, workerData } from "node:worker_threads";
import { openShard } from "../../src/shard/client.js";
import { StatusError } from "../../src/status/error.js";
import { EtcdHost } from "../../src/timeline/etcdHost.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { mapText, newMaps, noOtherHost } from "../../test/support/maps.js";

/** What a thread is started with. */
export interface ThreadPlan {
  readonly proxies: number;
  readonly endpoint: string;
  /** Int32: the newest revision of each shard. */
  readonly revisions: SharedArrayBuffer;
}

/** Asks a thread to write for some time. `writesPerSecond`: of its proxies together. */
export interface ThreadTask {
  readonly writesPerSecond: number;
  readonly milliseconds: number;
}

export interface ThreadResult {
  /** Time from a write to its seal, in milliseconds, of the writes that were sealed in time. */
  readonly seals: Float64Array;
  /** Writes that were not sealed when the time was over. */
  readonly unsealed: number;
  /** Entries that its proxies appended. */
  readonly appends: number;
}

export type ThreadReply =
  | { readonly ready: true }
  | { readonly result: ThreadResult }
  | { readonly error: string };

/** Interval at which due writes are made. */
const TICK_MS = 1;

const plan = workerData as ThreadPlan;
const revisions = new Int32Array(plan.revisions);
const quiet = { debug() {}, info() {}, warn() {} };

const reply = (message: ThreadReply): void => parentPort!.postMessage(message);
const failed = (error: unknown): void => reply({ error: StatusError.from(error).message });

async function open(n: number): Promise<SharedTimeline> {
  const client = openShard({
    index: -1,
    name: "host",
    endpoints: [plan.endpoint],
    requestTimeoutMs: 30_000,
    connectTimeoutMs: 10_000,
    log: quiet,
  });
  const shards = revisions.length;
  const timeline = new SharedTimeline(
    shards,
    {
      host: new EtcdHost(client),
      hostShard: -1,
      hostOf: noOtherHost,
      proxy: `${threadId}-${n}`,
      map: mapText(shards),
      maps: newMaps(),
      runtime: systemRuntime,
      genesis: async () => ({
        revisions: new Array<number>(shards).fill(1),
        clusterIds: Array.from({ length: shards }, (_, shard) => `${shard + 1}`),
      }),
      accept() {},
    },
    failed,
  );
  await timeline.open();
  return timeline;
}

/** Writes in an open loop, evenly over proxies and at random over shards. */
async function write(timelines: readonly SharedTimeline[], task: ThreadTask): Promise<ThreadResult> {
  const total = Math.floor((task.writesPerSecond * task.milliseconds) / 1_000);
  const seals = new Float64Array(total);
  let sealed = 0;
  let written = 0;
  const appends = () => timelines.reduce((sum, { stats }) => sum + stats.appends.count, 0);
  const before = appends();
  const begin = performance.now();
  const one = () => {
    const shard = Math.floor(Math.random() * revisions.length);
    const revision = Atomics.add(revisions, shard, 1) + 1;
    const since = performance.now();
    timelines[written++ % timelines.length].whenSealed(shard, revision, true, (error) => {
      if (error !== undefined) failed(error);
      else seals[sealed++] = performance.now() - since;
    });
  };
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const elapsed = performance.now() - begin;
      const due = Math.min(total, Math.floor((elapsed / 1_000) * task.writesPerSecond));
      while (written < due) one();
      if (elapsed < task.milliseconds) return;
      clearInterval(timer);
      resolve({ seals: seals.slice(0, sealed), unsealed: written - sealed, appends: appends() - before });
    }, TICK_MS);
  });
}

async function run(): Promise<void> {
  const timelines = await Promise.all(Array.from({ length: plan.proxies }, (_, n) => open(n)));
  parentPort!.on("message", (task: ThreadTask) => {
    write(timelines, task).then((result) => reply({ result }), failed);
  });
  reply({ ready: true });
}

run().catch(failed);
