import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { endWithParent } from "../../src/dev/guard.js";
import { PutRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import type { EtcdProcess } from "../../test/support/etcd.js";
import { callAll } from "../call.js";
import { type ProxyProcess, startEtcds, startProxy } from "../peers.js";
import { processorTime, residentMemory } from "../processes.js";
import type { HolderReply, HolderTask } from "./holder.js";
import type { ClientsOptions } from "./options.js";

const SHARDS = 3;
/** Processes that hold the clients. */
const HOLDERS = 2;
/** Time for a proxy to become idle, and to give memory back. */
const SETTLE_MS = 10_000;
/** Writes before clients move, so that they have seen some. */
const FIRST_WRITES = 100;

export interface ClientsFigures {
  /** Seconds until all clients were served, from the first connection on. */
  readonly openSeconds: number;
  /** Resident memory of the proxy: without clients, with all of them, and some time after they have left. In bytes. */
  readonly memory: { readonly before: number; readonly during: number; readonly after: number };
  /** CPU time while clients only keep their leases alive, as a share of a core: the proxy, and all etcds together. */
  readonly idle: { readonly proxy: number; readonly etcds: number };
  readonly moves: readonly Move[];
}

/** All clients have moved from one proxy to another. */
export interface Move {
  readonly signal: "SIGKILL" | "SIGTERM";
  /** Seconds from the signal until all clients were served again. */
  readonly seconds: number;
  /** CPU time of the proxy that they moved to, and of all etcds, in seconds. */
  readonly cpu: { readonly proxy: number; readonly etcds: number };
  /** Calls that began on all etcds meanwhile, by method. */
  readonly calls: Readonly<Record<string, number>>;
  /** Events that were written while the clients moved, times the clients that watch each. */
  readonly written: number;
  /** Events that were lost, came twice, or came in the wrong order. */
  readonly wrong: number;
  readonly leasesLost: number;
}

/** Measures everything. Ends all processes that it started, also on failure. */
export async function runClients(
  options: ClientsOptions,
  dir: string,
  say: (text: string) => void,
): Promise<ClientsFigures> {
  const folder = join(dir, "clients");
  mkdirSync(folder);
  const etcds = await startEtcds("shard", SHARDS, { dir: folder, fsync: true });
  const proxies: ProxyProcess[] = [];
  const holders = new Holders(options);
  const start = async (): Promise<ProxyProcess> => {
    const name = `proxy-${proxies.length}`;
    const proxy = await startProxy({ name, dir: folder, shards: etcds, logLevel: "error" });
    proxies.push(proxy);
    return proxy;
  };
  try {
    const first = await start();
    const pid = first.pids.proxy;
    await sleep(SETTLE_MS / 2);
    const before = residentMemory(pid);
    say(`opening ${options.clients} connections, each with a watch and a lease`);
    const began = Date.now();
    const openSeconds = ((await holders.open(first.port)) - began) / 1_000;
    say(`all are served after ${openSeconds.toFixed(1)} s; idle for ${options.idle} s`);
    await sleep(SETTLE_MS);
    const during = residentMemory(pid);
    const idle = await shares(pid, etcds, options.idle);
    const writer = new Writer(options);
    await writer.write(first.port, FIRST_WRITES);
    const moves: Move[] = [];
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      say(`${signal} for the proxy`);
      const next = await start();
      moves.push(await move(signal, proxies.at(-2)!, next, { etcds, holders, writer, options }));
    }
    say("all clients leave");
    await holders.close();
    await sleep(SETTLE_MS);
    const after = residentMemory(proxies.at(-1)!.pids.proxy);
    return { openSeconds, memory: { before, during, after }, idle, moves };
  } finally {
    holders.stop();
    await Promise.all(proxies.map((proxy) => proxy.stop()));
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
}

/** CPU time of the proxy and of the etcds during some seconds, as shares of a core. */
async function shares(
  proxy: number,
  etcds: readonly EtcdProcess[],
  seconds: number,
): Promise<ClientsFigures["idle"]> {
  const before = cpuSeconds(proxy, etcds);
  const begin = performance.now();
  await sleep(seconds * 1_000);
  const elapsed = (performance.now() - begin) / 1_000;
  const after = cpuSeconds(proxy, etcds);
  return { proxy: (after.proxy - before.proxy) / elapsed, etcds: (after.etcds - before.etcds) / elapsed };
}

function cpuSeconds(proxy: number, etcds: readonly EtcdProcess[]): { proxy: number; etcds: number } {
  const sum = etcds.reduce((total, { pid }) => total + processorTime(pid), 0);
  return { proxy: processorTime(proxy) / 1e6, etcds: sum / 1e6 };
}

interface Scene {
  readonly etcds: readonly EtcdProcess[];
  readonly holders: Holders;
  readonly writer: Writer;
  readonly options: ClientsOptions;
}

async function move(
  signal: Move["signal"],
  from: ProxyProcess,
  to: ProxyProcess,
  { etcds, holders, writer, options }: Scene,
): Promise<Move> {
  const pid = from.pids.proxy;
  const [cpuBefore, callsBefore] = [cpuSeconds(to.pids.proxy, etcds), await callsOf(etcds)];
  const seenBefore = await holders.count();
  const writtenBefore = writer.written;
  const stopWriting = writer.start(to.port, options.writesPerSecond);
  const began = Date.now();
  const moved = holders.move(to.port);
  process.kill(pid, signal);
  const seconds = ((await moved) - began) / 1_000;
  await stopWriting();
  const [cpuAfter, callsAfter] = [cpuSeconds(to.pids.proxy, etcds), await callsOf(etcds)];
  const seen = await holders.complete(writer);
  return {
    signal,
    seconds,
    cpu: { proxy: cpuAfter.proxy - cpuBefore.proxy, etcds: cpuAfter.etcds - cpuBefore.etcds },
    calls: Object.fromEntries(
      Object.entries(callsAfter)
        .map(([method, count]) => [method, count - (callsBefore[method] ?? 0)] as const)
        .filter(([, count]) => count > 0),
    ),
    written: Math.round(((writer.written - writtenBefore) * options.clients) / options.keys),
    wrong: seen.wrong - seenBefore.wrong + seen.missing,
    leasesLost: seen.leasesLost - seenBefore.leasesLost,
  };
}

/** Calls that have begun on all etcds, by method. */
async function callsOf(etcds: readonly EtcdProcess[]): Promise<Record<string, number>> {
  const calls: Record<string, number> = {};
  for (const { url } of etcds) {
    const text = await (await fetch(`${url}/metrics`)).text();
    for (const [, method, count] of text.matchAll(
      /^grpc_server_started_total\{grpc_method="(\w+)",grpc_service="etcdserverpb\.[^}]*\} (\d+)$/gm,
    ))
      calls[method] = (calls[method] ?? 0) + Number(count);
  }
  return calls;
}

/** Writes the numbers 1, 2, … to each of the keys that are watched. */
class Writer {
  written = 0;

  constructor(private readonly options: ClientsOptions) {}

  /** The number in the newest value of the key of the client `n`. */
  newestOf(n: number): number {
    const { keys } = this.options;
    return Math.floor((this.written - 1 - (n % keys)) / keys) + 1;
  }

  async write(port: number, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const { keys } = this.options;
      const key = Buffer.from(`/watched/${this.written % keys}`);
      const value = Buffer.from(`${Math.floor(this.written / keys) + 1}`);
      await callAll(port, KV.Put, [PutRequest.encode({ key, value })]);
      this.written++;
    }
  }

  /** Writes until the returned function is called, which resolves after the last write. */
  start(port: number, perSecond: number): () => Promise<void> {
    let stopped = false;
    const run = async () => {
      while (!stopped) {
        await this.write(port, 1);
        await sleep(1_000 / perSecond);
      }
    };
    const running = run();
    return async () => {
      stopped = true;
      await running;
    };
  }
}

// Compiled or from the sources, as this process is.
const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const program = fileURLToPath(new URL(`./holder.${extension}`, import.meta.url));
/** How long the last events may take. */
const EVENTS_TIMEOUT_MS = 60_000;

/** The processes with the clients. */
class Holders {
  private readonly children: readonly ChildProcess[];
  private readonly counts: readonly number[];

  constructor(private readonly options: ClientsOptions) {
    this.counts = Array.from({ length: HOLDERS }, (_, i) =>
      Math.floor(options.clients / HOLDERS + (i < options.clients % HOLDERS ? 1 : 0)),
    );
    this.children = this.counts.map(() => {
      const child = fork(program, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
      endWithParent(child);
      return child;
    });
  }

  /** Resolves to the time when all clients were served. */
  async open(port: number): Promise<number> {
    const { keys, ttl, ping } = this.options;
    let first = 0;
    const tasks = this.counts.map((clients): HolderTask => {
      const task = { kind: "open", port, clients, first, keys, ttl, ping } as const;
      first += clients;
      return task;
    });
    return latest(await this.ask(tasks));
  }

  /** Resolves to the time when all clients were served at `port`. */
  async move(port: number): Promise<number> {
    return latest(await this.ask(this.counts.map(() => ({ kind: "move", port }))));
  }

  async count(): Promise<Pick<HolderReply, "events" | "wrong" | "leasesLost" | "newest">> {
    const replies = await this.ask(this.counts.map(() => ({ kind: "count" })));
    const sum = (value: (reply: HolderReply) => number) =>
      replies.reduce((total, reply) => total + value(reply), 0);
    return {
      events: sum(({ events }) => events),
      wrong: sum(({ wrong }) => wrong),
      leasesLost: sum(({ leasesLost }) => leasesLost),
      newest: replies.flatMap(({ newest }) => newest),
    };
  }

  /** Waits until every client has the newest event of its key. `missing`: clients that do not get it. */
  async complete(
    writer: Writer,
  ): Promise<Pick<HolderReply, "wrong" | "leasesLost"> & { readonly missing: number }> {
    const deadline = Date.now() + EVENTS_TIMEOUT_MS;
    for (;;) {
      const { wrong, leasesLost, newest } = await this.count();
      const missing = newest.filter((number, n) => number !== writer.newestOf(n)).length;
      if (missing === 0 || Date.now() > deadline) return { wrong, leasesLost, missing };
      await sleep(200);
    }
  }

  async close(): Promise<void> {
    await this.ask(this.counts.map(() => ({ kind: "close" })));
  }

  stop(): void {
    for (const child of this.children) child.kill();
  }

  private ask(tasks: readonly HolderTask[]): Promise<HolderReply[]> {
    return Promise.all(
      this.children.map(async (child, i) => {
        const ended = once(child, "exit").then(() => {
          throw new Error("a process with clients has ended");
        });
        const answered = once(child, "message");
        child.send(tasks[i]);
        const [reply] = await Promise.race([answered, ended]);
        return reply as HolderReply;
      }),
    );
  }
}

const latest = (replies: readonly HolderReply[]): number => Math.max(...replies.map(({ at }) => at));
