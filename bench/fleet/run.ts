import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { EtcdProcess } from "../../test/support/etcd.js";
import { startEtcds } from "../peers.js";
import { processorTime } from "../processes.js";
import { quantile } from "../statistics.js";
import type { FleetOptions } from "./options.js";
import type { ThreadPlan, ThreadReply, ThreadResult, ThreadTask } from "./thread.js";

/** What one fleet did with one load. */
export interface FleetFigures {
  readonly proxies: number;
  /** Per second, of all proxies together: how many were to be made, and how many were sealed. */
  readonly writes: number;
  readonly sealedPerSecond: number;
  readonly appendsPerSecond: number;
  readonly sealP50Ms: number;
  readonly sealP99Ms: number;
  /** CPU time of the host: as a share of a core, and in microseconds per write. */
  readonly hostCpu: number;
  readonly hostMicrosecondsPerWrite: number;
  /** Bytes that the host sends to all proxies, and that it writes to its disk, per write. */
  readonly sentPerWrite: number;
  readonly storedPerWrite: number;
  /** Bytes that each proxy reads from the host, per second. */
  readonly readPerSecond: number;
  /** CPU time of one proxy's timeline, as a share of a core. */
  readonly proxyCpu: number;
}

/** Measures each number of proxies on a new log. Ends all processes that it started, also on failure. */
export async function runFleets(
  options: FleetOptions,
  dir: string,
  say: (text: string) => void,
): Promise<FleetFigures[]> {
  const figures: FleetFigures[] = [];
  for (const proxies of options.proxies) {
    say(`proxies: ${proxies}`);
    const folder = join(dir, `fleet-${proxies}`);
    mkdirSync(folder);
    const [host] = await startEtcds("host", 1, { dir: folder, fsync: true });
    const fleet = new Fleet(host);
    try {
      await fleet.start(proxies, options);
      // A fresh process spends much of its time compiling.
      await fleet.write(options.writes[0], options.slice / 2);
      for (const writes of options.writes) figures.push(await fleet.write(writes, options.slice));
    } finally {
      await fleet.stop();
      await host.remove();
    }
  }
  return figures;
}

// Compiled or from the sources, as this process is.
const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const program = new URL(`./thread.${extension}`, import.meta.url);

class Fleet {
  private threads: Thread[] = [];
  private proxies = 0;

  constructor(private readonly host: EtcdProcess) {}

  async start(proxies: number, { threads, shards }: FleetOptions): Promise<void> {
    this.proxies = proxies;
    const revisions = new SharedArrayBuffer(4 * shards);
    new Int32Array(revisions).fill(1);
    for (let i = 0; i < Math.min(threads, proxies); i++) {
      const count = Math.floor(proxies / threads) + (i < proxies % threads ? 1 : 0);
      const thread = new Thread({ proxies: count, endpoint: this.host.endpoint, revisions });
      this.threads.push(thread);
      // One after another, so that the first one begins the log.
      await thread.ready;
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.stop()));
  }

  async write(writes: number, milliseconds: number): Promise<FleetFigures> {
    const begin = performance.now();
    const before = await this.counts();
    const results = await Promise.all(
      this.threads.map((thread) =>
        thread.run({ writesPerSecond: (writes * thread.plan.proxies) / this.proxies, milliseconds }),
      ),
    );
    const after = await this.counts();
    const seconds = (performance.now() - begin) / 1_000;
    const seals = Float64Array.from(results.flatMap((result) => [...result.seals])).sort();
    const used = (name: keyof typeof after): number => after[name] - before[name];
    return {
      proxies: this.proxies,
      writes,
      sealedPerSecond: seals.length / seconds,
      appendsPerSecond: results.reduce((sum, result) => sum + result.appends, 0) / seconds,
      sealP50Ms: quantile(seals, 0.5),
      sealP99Ms: quantile(seals, 0.99),
      hostCpu: used("hostCpu") / 1e6 / seconds,
      hostMicrosecondsPerWrite: used("hostCpu") / seals.length,
      sentPerWrite: used("sent") / seals.length,
      storedPerWrite: used("stored") / seals.length,
      readPerSecond: used("sent") / this.proxies / seconds,
      proxyCpu: used("ownCpu") / 1e6 / seconds / this.proxies,
    };
  }

  private async counts(): Promise<Record<"hostCpu" | "sent" | "stored" | "ownCpu", number>> {
    const { pid, url } = this.host;
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const io = readFileSync(`/proc/${pid}/io`, "latin1");
    return {
      hostCpu: processorTime(pid),
      sent: Number(/^etcd_network_client_grpc_sent_bytes_total (\S+)$/m.exec(metrics)?.[1] ?? Number.NaN),
      stored: Number(/^write_bytes: (\d+)$/m.exec(io)?.[1] ?? Number.NaN),
      ownCpu: processorTime(process.pid),
    };
  }
}

/** One thread with some proxies. */
class Thread {
  readonly ready: Promise<void>;
  private readonly worker: Worker;

  constructor(readonly plan: ThreadPlan) {
    this.worker = new Worker(program, { workerData: plan });
    this.ready = this.answer().then(() => {});
  }

  async run(task: ThreadTask): Promise<ThreadResult> {
    const answered = this.answer();
    this.worker.postMessage(task);
    const reply = await answered;
    if (!("result" in reply)) throw new Error("a thread has reported no result");
    return reply.result;
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
  }

  private answer(): Promise<ThreadReply> {
    return new Promise((resolve, reject) => {
      const { worker } = this;
      const settle = (act: () => void) => {
        worker.off("message", take);
        worker.off("error", fail);
        act();
      };
      const take = (reply: ThreadReply) =>
        settle(() => ("error" in reply ? reject(new Error(reply.error)) : resolve(reply)));
      const fail = (error: Error) => settle(() => reject(error));
      worker.on("message", take);
      worker.on("error", fail);
    });
  }
}
