import type { ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { type ChildPlan, SupervisedChild } from "./child.js";
import { type EtcdPlan, etcdArguments, etcdEnvironment, isEtcdReady } from "./etcd.js";
import { type Layout, planLayout } from "./layout.js";
import { lockFolder } from "./lock.js";

export interface StoreOptions {
  /** Data folder, made if it is missing. */
  readonly dir: string;
  /** Loopback port of the proxy. */
  readonly port: number;
  /** Command line of `braid serve`, to which `--config <file>` is added. */
  readonly serve: readonly string[];
  /** Told, in one line each, what happens to the processes. */
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

/** How long a process may take to end when asked, ms. */
const GRACE = 5_000;
/** How long an etcd may take until it answers, ms; recovering much data takes a while. */
const START_TIMEOUT = 120_000;
/** Pause between two looks at an etcd that is starting, ms. */
const POLL = 50;

/**
 * Starts three single-node etcds and a proxy over them, and watches over the four processes.
 * @throws {FolderInUse} when another process runs a store in the folder.
 * @throws {Error} when a process does not start; nothing is left running then.
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
    const layout = await planLayout(options.dir, options.port);
    etcds = layout.shards.map((shard) => new SupervisedChild(etcdChild(shard, options.dir), options.say));
    await Promise.all(etcds.map((etcd) => etcd.start()));
    proxy = new SupervisedChild(proxyChild(options.serve, layout), options.say);
    await proxy.start();
    const pids = () => ({ proxy: proxy?.pid, shards: etcds.map((etcd) => etcd.pid) });
    return { layout, pids, stop: () => end(GRACE), kill: () => end(0) };
  } catch (error) {
    await end(GRACE);
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
    args: etcdArguments(plan),
    options: { stdio: ["ignore", log, log], env: etcdEnvironment() },
    logFile,
    async ready(_child, ended) {
      const deadline = Date.now() + START_TIMEOUT;
      while (!ended() && Date.now() < deadline) {
        if (await isEtcdReady(plan)) return true;
        await new Promise((resolve) => setTimeout(resolve, POLL));
      }
      return false;
    },
  };
}

function proxyChild(serve: readonly string[], layout: Layout): ChildPlan {
  const [command, ...args] = [...serve, "--config", layout.configFile];
  return {
    name: "the proxy",
    command,
    args,
    options: { stdio: ["ignore", "inherit", "inherit", "ipc"] },
    ready: readyMessage,
  };
}

/** `braid serve` tells whoever started it with a message channel when it listens. */
function readyMessage(child: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    child.once("message", () => {
      child.disconnect(); // the one message was all; an open channel would keep both sides busy
      resolve(true);
    });
    child.once("exit", () => resolve(false));
  });
}
