import type { ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { freePort } from "../../src/dev/ports.js";
import { spawnBraid, temporaryFolder } from "./braid.js";
import { type EtcdOptions, type EtcdProcess, startEtcds } from "./etcd.js";

export interface TestStoreOptions {
  /** Number of shards, each a single-node etcd; default 3. Ignored when `backends` are given. */
  shards?: number;
  /** Etcds that run already, used as shards in this order and left alone by `remove`. */
  backends?: readonly EtcdProcess[];
  /** Options of the etcds that are started. */
  etcd?: EtcdOptions;
  /** Number of proxies; default 1. */
  proxies?: number;
  /** Further configuration, as in shards.yaml: `{ routing: …, limits: … }`; may depend on the number of the proxy. */
  config?: Readonly<Record<string, unknown>> | ((proxy: number) => Readonly<Record<string, unknown>>);
  /** Further environment of the proxies. */
  env?: NodeJS.ProcessEnv;
}

/** Several etcds and proxies over them, every one a process of its own. */
export interface TestStore {
  readonly shards: readonly EtcdProcess[];
  readonly proxies: readonly ProxyProcess[];
  /** `127.0.0.1:port` of the first proxy. */
  readonly endpoint: string;
  /** Starts one more proxy over the same shards. */
  addProxy(): Promise<ProxyProcess>;
  /** Ends all processes that `startStore` started and deletes their data. */
  remove(): Promise<void>;
}

/** Starts a store and resolves when every proxy serves. */
export async function startStore(options: TestStoreOptions = {}): Promise<TestStore> {
  const shards = options.backends ?? (await startEtcds(options.shards ?? 3, options.etcd));
  const proxies: ProxyProcess[] = [];
  const remove = async () => {
    await Promise.all(proxies.map((proxy) => proxy.kill()));
    if (!options.backends) await Promise.all(shards.map((shard) => shard.remove()));
  };
  const addProxy = async () => {
    const { config } = options;
    const proxy = await startProxyProcess(
      shards,
      typeof config === "function" ? config(proxies.length) : config,
      options.env,
    );
    proxies.push(proxy);
    return proxy;
  };
  try {
    for (let i = 0; i < (options.proxies ?? 1); i++) await addProxy();
  } catch (error) {
    await remove();
    throw error;
  }
  return { shards, proxies, endpoint: proxies[0]?.endpoint, addProxy, remove };
}

/** What carries the calls of the proxies under test: `BRAID_TEST_TRANSPORT`, else the default. */
const transport = process.env.BRAID_TEST_TRANSPORT;

/** The configuration of a proxy over `shards` (named shard0, shard1, …), as the file's content. */
export function storeConfig(
  shards: readonly EtcdProcess[],
  port: number,
  more: Readonly<Record<string, unknown>> = {},
): string {
  const config = {
    listen: [`127.0.0.1:${port}`],
    shards: shards.map((shard, i) => ({ name: `shard${i}`, endpoints: [shard.endpoint] })),
    log: { level: "info" },
    ...(transport && { transport }),
    ...more,
  };
  return JSON.stringify(config, null, 2); // JSON is YAML
}

/** Starts `braid serve` over running etcds on a free port and resolves when it serves. */
export async function startProxyProcess(
  shards: readonly EtcdProcess[],
  more?: Readonly<Record<string, unknown>>,
  env?: NodeJS.ProcessEnv,
): Promise<ProxyProcess> {
  for (;;) {
    const port = await freePort();
    const configFile = join(temporaryFolder(), "shards.yaml");
    writeFileSync(configFile, storeConfig(shards, port, more));
    const proxy = new ProxyProcess(configFile, port, env);
    try {
      await proxy.start();
      return proxy;
    } catch (error) {
      // Somebody else may have got the port first.
      if (!/EADDRINUSE|in use/.test(proxy.logs())) throw error;
    }
  }
}

/** One `braid serve` process with a configuration and port of its own. */
export class ProxyProcess {
  private child: ChildProcess | undefined;
  private ended: Promise<number> = Promise.resolve(0);
  private output = "";

  constructor(
    readonly configFile: string,
    readonly port: number,
    private readonly env: NodeJS.ProcessEnv = {},
  ) {}

  /** `127.0.0.1:port`. */
  get endpoint(): string {
    return `127.0.0.1:${this.port}`;
  }

  get isRunning(): boolean {
    return this.child !== undefined;
  }

  /** Process id; throws when the process is not running. */
  get pid(): number {
    if (this.child?.pid === undefined) throw new Error(`the proxy at ${this.endpoint} is not running`);
    return this.child.pid;
  }

  /** Everything the process has written, over all its starts. */
  logs(): string {
    return this.output;
  }

  /** Starts the process; resolves when it serves, rejects with its output when it ends before. */
  async start(): Promise<void> {
    const child = spawnBraid(["serve", "--config", this.configFile], {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: { ...process.env, ...this.env },
    });
    this.child = child;
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
    this.ended = new Promise((resolve) => {
      child.once("close", (code) => {
        if (this.child === child) this.child = undefined;
        resolve(code ?? -1);
      });
    });
    const serving = await Promise.race([
      new Promise<boolean>((resolve) => child.once("message", () => resolve(true))),
      this.ended.then(() => false),
    ]);
    if (!serving) throw new Error(`the proxy at ${this.endpoint} did not start:\n${this.output}`);
    // A test that has ended must not be kept alive by a proxy that nobody stopped.
    child.channel?.unref();
    child.unref();
    for (const stream of outputs(child)) stream.unref();
  }

  /** Sends a signal (default SIGKILL). Resolves when the process has ended, or at once for SIGSTOP and SIGCONT. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.child;
    if (!child) return;
    child.kill(signal);
    if (signal === "SIGSTOP" || signal === "SIGCONT") return;
    // Its output is part of what is waited for.
    child.ref();
    for (const stream of outputs(child)) stream.ref();
    await this.ended;
  }

  /** Ends the process gracefully and resolves to its exit code. */
  async stop(): Promise<number> {
    await this.kill("SIGTERM");
    return this.ended;
  }

  /** Ends the process (with `signal`) and starts it again at the same address. */
  async restart(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.kill(signal);
    await this.start();
  }
}

const outputs = (child: ChildProcess): Socket[] => [child.stdout, child.stderr] as unknown as Socket[];
