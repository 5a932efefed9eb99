import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { etcdEnvironment } from "../src/dev/etcd.js";
import { endWithParent } from "../src/dev/guard.js";
import { freePort } from "../src/dev/ports.js";
import { RangeRequest } from "../src/wire/messages.js";
import { KV } from "../src/wire/paths.js";
import { spawnBraid } from "../test/support/braid.js";
import { type EtcdProcess, etcdBinary, startEtcd } from "../test/support/etcd.js";
import { call } from "./call.js";
import { childrenOf } from "./processes.js";
import { type PutCounts, readPutCounts } from "./putCounts.js";

/**
 * All except the first three are etcd-braid. `pass-through` is a process that only passes bytes on to an etcd. `workers-N` has N
 * processes behind its port, over three shards.
 */
export const PEERS = [
  "direct",
  "pass-through",
  "grpc-proxy",
  "braid-1",
  "braid-3",
  "workers-1",
  "workers-2",
] as const;
export type PeerName = (typeof PEERS)[number];

const START_TIMEOUT_MS = 60_000;

/** A running peer of the comparison. */
export interface Peer {
  readonly name: PeerName;
  /** The address for the load generator. */
  readonly port: number;
  /** Its processes: `proxy` if it has one, `proxy-1`, … if that has workers; and `etcd` or `etcd-0`, `etcd-1`, … */
  readonly pids: Readonly<Record<string, number>>;
  /** Of those with a timeline. */
  putCounts?(): Promise<PutCounts>;
  stop(): Promise<void>;
}

export interface PeerOptions {
  /** Folder for the data. */
  readonly dir: string;
  /** False starts the etcds without fsync if they support that (3.5 and later). */
  readonly fsync: boolean;
}

export function startPeer(name: PeerName, options: PeerOptions): Promise<Peer> {
  switch (name) {
    case "direct":
      return startDirect(options);
    case "pass-through":
      return startPassThrough(options);
    case "grpc-proxy":
      return startGrpcProxy(options);
    case "braid-1":
      return startBraid(name, 1, options);
    case "braid-3":
      return startBraid(name, 3, options);
    case "workers-1":
    case "workers-2":
      return startBraid(name, 3, options, Number(name.at(-1)));
  }
}

async function startDirect(options: PeerOptions): Promise<Peer> {
  const [etcd] = await startEtcds("direct", 1, options);
  return {
    name: "direct",
    port: etcd.port,
    pids: { etcd: etcd.pid },
    stop: () => etcd.remove(),
  };
}

async function startPassThrough(options: PeerOptions): Promise<Peer> {
  const [etcd] = await startEtcds("pass-through", 1, options);
  const port = await freePort();
  const program = fileURLToPath(new URL("./passThrough.js", import.meta.url));
  return proxyOf("pass-through", etcd, port, spawn(process.execPath, [program, `${port}`, `${etcd.port}`]));
}

async function startGrpcProxy(options: PeerOptions): Promise<Peer> {
  const [etcd] = await startEtcds("grpc-proxy", 1, options);
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  // Since 3.5 it ends if it cannot reach its own advertised address.
  const flags = ["--endpoints", etcd.url, "--listen-addr", address, "--advertise-client-url", address];
  const child = spawn(
    etcdBinary,
    ["grpc-proxy", "start", ...flags, "--data-dir", join(options.dir, "grpc-proxy")],
    { stdio: "ignore", env: etcdEnvironment() },
  );
  return proxyOf("grpc-proxy", etcd, port, child);
}

/** A peer with one etcd behind the process `child`, once it serves at `port`. */
async function proxyOf(name: PeerName, etcd: EtcdProcess, port: number, child: ChildProcess): Promise<Peer> {
  endWithParent(child);
  const stop = async () => {
    await end(child);
    await etcd.remove();
  };
  try {
    await answers(port, child);
  } catch (error) {
    await stop();
    throw error;
  }
  const pids = { proxy: child.pid!, etcd: etcd.pid };
  return { name, port, pids, stop };
}

async function startBraid(name: PeerName, shards: number, options: PeerOptions, workers = 1): Promise<Peer> {
  const etcds = await startEtcds(name, shards, options);
  const removeEtcds = () => Promise.all(etcds.map((etcd) => etcd.remove()));
  const numbered = etcds.map((etcd, i) => [shards === 1 ? "etcd" : `etcd-${i}`, etcd.pid]);
  try {
    const proxy = await startProxy({ name, dir: options.dir, shards: etcds, workers });
    return {
      name,
      port: proxy.port,
      pids: { ...proxy.pids, ...Object.fromEntries(numbered) },
      putCounts: () => readPutCounts(proxy.port),
      stop: async () => {
        await proxy.stop();
        await removeEtcds();
      },
    };
  } catch (error) {
    await removeEtcds();
    throw error;
  }
}

/** A proxy to start. */
export interface ProxyPlan {
  /** Name of its configuration file, which must be unique in `dir`. */
  readonly name: string;
  readonly dir: string;
  readonly shards: readonly EtcdProcess[];
  /** The timeline host if it is not a shard. */
  readonly host?: EtcdProcess;
  readonly workers?: number;
  /** Level of its log; default `warn`. */
  readonly logLevel?: string;
}

/** A running `braid serve`. */
export interface ProxyProcess {
  readonly port: number;
  /** `proxy`, and with workers `proxy-1`, … */
  readonly pids: Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

/** Starts a proxy with its default configuration. Resolves when it serves, with all its workers. */
export async function startProxy(plan: ProxyPlan): Promise<ProxyProcess> {
  const { name, dir, shards, host, workers = 1, logLevel = "warn" } = plan;
  const port = await freePort();
  const config = join(dir, `${name}.yaml`);
  const lines = [
    `listen: ["127.0.0.1:${port}"]`,
    `workers: ${workers}`,
    `log: { level: ${logLevel} }`,
    ...(host === undefined ? [] : [`timeline: { endpoints: ["${host.endpoint}"] }`]),
    "shards:",
    ...shards.map((etcd, i) => `  - { name: shard-${i}, endpoints: ["${etcd.endpoint}"] }`),
    "",
  ];
  writeFileSync(config, lines.join("\n"));
  const child = spawnBraid(["serve", "--config", config], { stdio: ["ignore", "inherit", "inherit"] });
  try {
    await answers(port, child);
    const pids = { proxy: child.pid!, ...(await workerPids(child.pid!, port, workers)) };
    return { port, pids, stop: () => end(child) };
  } catch (error) {
    await end(child);
    throw error;
  }
}

/** The worker processes behind one port, once all of them serve; none without workers. */
async function workerPids(primary: number, port: number, workers: number): Promise<Record<string, number>> {
  if (workers === 1) return {};
  const deadline = Date.now() + START_TIMEOUT_MS;
  const metrics = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  while (!new RegExp(`^braid_workers(?:\\{.*\\})? ${workers}$`, "m").test(await metrics())) {
    if (Date.now() > deadline) throw new Error(`fewer than ${workers} workers serve`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const children = childrenOf(primary).filter((pid) => environment(pid).includes("NODE_UNIQUE_ID="));
  return Object.fromEntries(children.map((pid, i) => [`proxy-${i + 1}`, pid]));
}

const environment = (pid: number): string => readFileSync(`/proc/${pid}/environ`, "latin1");

/** Starts etcds that are independent of each other, named `name` and a number. */
export function startEtcds(name: string, count: number, { dir, fsync }: PeerOptions): Promise<EtcdProcess[]> {
  return Promise.all(
    Array.from({ length: count }, (_, i) => {
      const data = join(dir, `${name}-${i}`);
      mkdirSync(data);
      return startEtcd({ name: `${name}-${i}`, dir: data, fsync });
    }),
  );
}

/** Resolves when a read at the port succeeds. */
async function answers(port: number, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  const read = RangeRequest.encode({ key: Buffer.from("/") });
  for (;;) {
    try {
      await call(port, KV.Range, read);
      return;
    } catch (error) {
      if (child.exitCode !== null) throw new Error(`the proxy ended with exit code ${child.exitCode}`);
      if (Date.now() > deadline) throw new Error(`the proxy does not respond: ${(error as Error).message}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}
