import type { ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { type ChildPlan, SupervisedChild } from "./child.js";
import { type EtcdPlan, etcdArguments, etcdEnvironment, isEtcdReady, SHARD_FLAGS } from "./etcd.js";
import { lockFolder } from "./folderLock.js";
import { type Layout, planLayout } from "./layout.js";

/** A program and its arguments. */
export type CommandLine = readonly [command: string, ...args: string[]];

export interface StoreOptions {
  /** Data folder, created if it is missing. */
  readonly dir: string;
  /** Loopback port of the proxy. */
  readonly port: number;
  /** Number of shards; by default as many as the store of the folder has, or three. */
  readonly shards: number | undefined;
  /** Command line of `braid serve`, without `--config <file>`. */
  readonly serve: CommandLine;
  /** Receives messages about the processes, one line each. */
  readonly say: (line: string) => void;
}

/** A running local store. */
export interface Store {
  readonly layout: Layout;
  /** Process ids: the proxy's, and the etcds' in the order of `layout.shards`; undefined while one is not running. */
  pids(): { proxy: number | undefined; shards: (number | undefined)[] };
  /** Ends everything: the proxy first, then the etcds. The data stays. */
  stop(): Promise<void>;
  /** Ends everything at once. */
  kill(): Promise<void>;
}

/** How long a process may take to end after SIGTERM. */
const GRACE_MS = 5_000;
/** How long an etcd may take until it responds. Recovering much data takes a while. */
const START_TIMEOUT_MS = 120_000;
/** Pause between two checks of a starting etcd. */
const POLL_MS = 50;

/**
 * Starts single-node etcds and a proxy over them, and restarts them if they crash. Etcds that the store does not have yet are not
 * used until it grows, see `Layout.grownFile`.
 * @throws {FolderInUse} if another process runs a store in the folder.
 * @throws {TooManyShards} if the store has more shards.
 * @throws {Error} if a process does not start. Then all processes are stopped.
 */
export async function startStore(options: StoreOptions): Promise<Store> {
  const unlock = await lockFolder(options.dir);
  let etcds: SupervisedChild[] = [];
  let proxy: SupervisedChild | undefined;
  const end = async (graceMs: number) => {
    await proxy?.stop(graceMs);
    await Promise.all(etcds.map((child) => child.stop(graceMs)));
    unlock();
  };
  try {
    const layout = await planLayout(options.dir, options.port, options.shards);
    etcds = layout.shards.map((shard) => new SupervisedChild(etcdChild(shard, options.dir), options.say));
    await Promise.all(etcds.map((etcd) => etcd.start()));
    proxy = new SupervisedChild(proxyChild(options.serve, layout), options.say);
    await proxy.start();
    const pids = () => ({ proxy: proxy?.pid, shards: etcds.map((etcd) => etcd.pid) });
    return { layout, pids, stop: () => end(GRACE_MS), kill: () => end(0) };
  } catch (error) {
    await end(GRACE_MS);
    throw error;
  }
}

function etcdChild(plan: EtcdPlan, dir: string): ChildPlan {
  const logFile = join(dir, `etcd-${plan.name}.log`);
  closeSync(openSync(logFile, "w")); // the log of one run of the store
  const log = openSync(logFile, "a");
  return {
    name: `etcd ${plan.name}`,
    command: "etcd",
    args: [...etcdArguments(plan), ...SHARD_FLAGS],
    options: { stdio: ["ignore", log, log], env: etcdEnvironment() },
    logFile,
    async ready(_child, ended) {
      const deadline = Date.now() + START_TIMEOUT_MS;
      while (!ended() && Date.now() < deadline) {
        if (await isEtcdReady(plan)) return true;
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
      return false;
    },
  };
}

function proxyChild(serve: CommandLine, layout: Layout): ChildPlan {
  const [command, ...args] = serve;
  return {
    name: "the proxy",
    command,
    args: [...args, "--config", layout.configFile],
    options: { stdio: ["ignore", "inherit", "inherit", "ipc"] },
    ready: readyMessage,
  };
}

/** `braid serve` sends a message to its parent when it listens. */
function readyMessage(child: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    child.once("message", () => {
      child.disconnect(); // no more messages follow, and an open channel would keep both processes alive
      resolve(true);
    });
    child.once("exit", () => resolve(false));
  });
}
