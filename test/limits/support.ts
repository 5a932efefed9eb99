import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { ProxyProcess } from "../support/store.js";
import { until } from "../support/until.js";
import type { Report } from "./goodClient.js";

/** How much an attack may make the proxy grow: less than any of the attacks would without its limit. */
export const MAX_GROWTH_MIB = 150;
/** 99th percentile of the good client's calls meanwhile, on an otherwise idle machine. */
export const MAX_P99_MS = 2_000;
/** How long the good client is measured before an attack. */
const USUAL_MS = 300;
/** How long the attack is watched after all of it has been sent. */
const WATCHED_MS = 1_000;
/** Share of one processor below which a proxy counts as idle. */
const IDLE_CPU = 0.3;

// Tests run compiled or from their sources.
const fromSources = import.meta.url.endsWith(".ts");

/** Memory in use, MiB. */
export function memoryOf(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"));
  return Number(line![1]) / 1024;
}

/** Processor time used so far, ms. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** A well-behaved client, in a separate thread. */
export class GoodClient {
  private readonly worker: Worker;

  constructor(endpoint: string, token?: string) {
    const file = new URL(`./goodClient.${fromSources ? "ts" : "js"}`, import.meta.url);
    this.worker = new Worker(file, {
      workerData: { endpoint, token },
      ...(fromSources && { execArgv: ["--import", import.meta.resolve("tsx")] }),
    });
    this.worker.unref();
  }

  /** Returns what it has measured since the previous report. */
  async report(): Promise<Report> {
    const answer = once(this.worker, "message");
    this.worker.postMessage("report");
    const [report] = await answer;
    return report;
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
  }
}

export interface Bounds {
  /** How much the proxy may grow, in MiB. */
  readonly growth?: number | undefined;
  /** How long the attack is watched after all of it has been sent. */
  readonly watchedMs?: number;
}

/** Closes what an attack holds open. */
export type Retreat = () => unknown;

/**
 * Runs an attack. Memory and the duration of the good client's calls must stay within their bounds, and the proxy must be
 * idle soon after the attacker has gone.
 */
export async function withstand(
  proxy: ProxyProcess,
  good: GoodClient,
  attack: () => Promise<Retreat>,
  { growth: maxGrowth = MAX_GROWTH_MIB, watchedMs = WATCHED_MS }: Bounds = {},
): Promise<void> {
  const { pid } = proxy;
  await until("the good client is served", async () => (await good.report()).calls > 0);
  await sleep(USUAL_MS);
  const usual = (await good.report()).p99;
  const before = memoryOf(pid);
  let most = before;
  const sampler = setInterval(() => {
    most = Math.max(most, memoryOf(pid));
  }, 20);
  try {
    const retreat = await attack();
    await sleep(watchedMs);
    const { p99, errors, calls } = await good.report();
    await retreat();
    await until("the proxy is idle", async () => {
      const [cpu, since] = [cpuOf(pid), performance.now()];
      await sleep(300);
      return (cpuOf(pid) - cpu) / (performance.now() - since) < IDLE_CPU;
    });
    const growth = Math.round(most - before);
    console.log(`${calls} calls of the good client, p99 ${p99.toFixed(1)} ms; memory +${growth} MiB`);
    assert.deepEqual(errors, []);
    const limit = MAX_P99_MS + 4 * usual;
    assert.ok(calls > 0 && p99 < limit, `p99 ${p99} ms of ${calls} calls, usually ${usual} ms`);
    assert.ok(growth < maxGrowth, `${growth} MiB more`);
    const after = await good.report();
    assert.deepEqual(after.errors, []);
  } finally {
    clearInterval(sampler);
  }
}

/** Opens a connection that reads nothing. */
export function dial({ port }: Pick<ProxyProcess, "port">): Socket {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  socket.on("error", () => {});
  socket.pause();
  return socket;
}

/** Opens many of them. Returns how to close them. */
export function dialMany(
  proxy: Pick<ProxyProcess, "port">,
  count: number,
  each: (socket: Socket) => void,
): Retreat {
  const sockets = Array.from({ length: count }, () => dial(proxy));
  for (const socket of sockets) each(socket);
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}

/** Writes `bytes` so many times, as fast as the system takes them. */
export function flood(socket: Socket, bytes: Uint8Array, times: number): void {
  for (let i = 0; i < times; i++) socket.write(bytes);
}
