import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  type EtcdPlan,
  etcdArguments,
  etcdEnvironment,
  isEtcdReady,
  SHARD_FLAGS,
} from "../../src/dev/etcd.js";
import { endWithParent } from "../../src/dev/guard.js";
import { freePort } from "../../src/dev/ports.js";

/** The etcd under test: `BRAID_TEST_ETCD`, else `etcd` on the PATH. */
export const etcdBinary = process.env.BRAID_TEST_ETCD || "etcd";

/** How long a start may take before it counts as failed, ms. Generous: two cores are shared by all tests. */
const START_TIMEOUT = 60_000;
/** How long a graceful stop may take before it is forced, ms. */
const STOP_TIMEOUT = 10_000;
const LOG_LIMIT = 1 << 20;

export interface EtcdOptions {
  /** Member name; default "default". */
  name?: string;
  /** Data directory, kept by `remove`; default: a temporary one that is deleted with the process. */
  dir?: string;
  /** Client port; default: a free one. */
  port?: number;
  /** Default: `etcdBinary`. */
  binary?: string;
  /** Further command line flags, e.g. `["--max-txn-ops", "1024"]`. */
  flags?: readonly string[];
  /** True keeps fsync on where the binary could do without it (3.5 and later). Default false. */
  fsync?: boolean;
}

interface Layout extends EtcdPlan {
  /** The name that the caller chose; etcd's own is unique, so that it can be told from another on its port. */
  readonly label: string;
  readonly ownsDir: boolean;
  readonly binary: string;
  readonly port: number;
  readonly flags: readonly string[];
}

class PortTaken extends Error {}

const running = new Set<ChildProcess>();
const directories = new Set<string>();

process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  for (const dir of directories) rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
});

/** One real etcd process on loopback ports. Ended with this process, however that ends. */
export class EtcdProcess {
  private child: ChildProcess | undefined;
  private ended: Promise<void> = Promise.resolve();
  private output: string[] = [];
  private outputSize = 0;

  constructor(private readonly layout: Layout) {}

  get name(): string {
    return this.layout.label;
  }

  /** `127.0.0.1:port` of the client listener. */
  get endpoint(): string {
    return `127.0.0.1:${this.layout.port}`;
  }

  /** `http://127.0.0.1:port` of the client listener. */
  get url(): string {
    return this.layout.clientUrl;
  }

  get port(): number {
    return this.layout.port;
  }

  get peerUrl(): string {
    return this.layout.peerUrl;
  }

  get dir(): string {
    return this.layout.dir;
  }

  /** Process id; throws when the process is not running. */
  get pid(): number {
    if (this.child?.pid === undefined) throw new Error(`etcd ${this.name} is not running`);
    return this.child.pid;
  }

  get isRunning(): boolean {
    return this.child !== undefined;
  }

  /** What the process has logged since it was created (at most the last megabyte). */
  logs(): string {
    return this.output.join("");
  }

  /**
   * Sends a signal (default SIGKILL). Resolves when the process has ended, or at once for SIGSTOP,
   * SIGCONT and the like, which end nothing. Does nothing when it is not running.
   */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.child;
    if (!child) return;
    child.kill(signal);
    // All its threads have to come to a stop before that is true for a fast client.
    while (signal === "SIGSTOP" && !isStopped(child.pid!))
      await new Promise((resolve) => setImmediate(resolve));
    if (!["SIGKILL", "SIGTERM", "SIGINT", "SIGQUIT"].includes(signal)) return;
    child.ref();
    await this.ended;
  }

  /** Ends the process gracefully; the data stays, `restart` goes on with it. */
  async stop(): Promise<void> {
    const child = this.child;
    if (!child) return;
    const force = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT);
    child.kill("SIGCONT"); // a stopped process would not see the next one
    await this.kill("SIGTERM");
    clearTimeout(force);
  }

  /** Starts the process again on the same ports with the same data (stops it first if it runs). Resolves when it answers. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
    await this.ready();
  }

  /** Ends the process at once and deletes its data (but not a directory given by the caller). */
  async remove(): Promise<void> {
    await this.kill("SIGKILL");
    if (!this.layout.ownsDir) return;
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
    directories.delete(this.dir);
  }

  /** Starts the process without waiting for it to answer. */
  async start(): Promise<void> {
    const { layout } = this;
    const child = spawn(layout.binary, [...etcdArguments(layout), ...layout.flags], {
      stdio: ["ignore", "pipe", "pipe"],
      env: etcdEnvironment(),
    });
    this.child = child;
    running.add(child);
    endWithParent(child);
    // Tests that have ended must not be kept alive by an etcd that nobody stopped.
    child.unref();
    for (const stream of [child.stdout, child.stderr]) {
      (stream as unknown as { unref(): void }).unref();
      stream.setEncoding("utf8").on("data", (text: string) => this.log(text));
    }
    this.ended = new Promise((resolve) => {
      const done = () => {
        running.delete(child);
        if (this.child === child) this.child = undefined;
        resolve();
      };
      child.once("exit", done);
      child.once("error", (error) => {
        this.log(`${error}\n`);
        done();
      });
    });
  }

  /** Resolves when the process answers and has a leader. Rejects with its log when it ends or takes too long. */
  async ready(): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT;
    while (this.child && Date.now() < deadline) {
      if (await isEtcdReady(this.layout)) return;
      await pause(20);
    }
    const log = this.logs();
    if (!this.child && log.includes("address already in use")) throw new PortTaken(log);
    const what = this.child ? `did not answer within ${START_TIMEOUT} ms` : "ended while starting";
    await this.kill();
    throw new Error(`etcd ${this.name} at ${this.endpoint} ${what}. Its log:\n${log}`);
  }

  private log(text: string): void {
    this.output.push(text);
    this.outputSize += text.length;
    while (this.outputSize > LOG_LIMIT) this.outputSize -= (this.output.shift() ?? "").length;
  }
}

/** Starts one single-node etcd and resolves when it answers. */
export async function startEtcd(options: EtcdOptions = {}): Promise<EtcdProcess> {
  for (;;) {
    const layout = await planMember(options);
    const etcd = new EtcdProcess(layout);
    try {
      await etcd.start();
      await etcd.ready();
      return etcd;
    } catch (error) {
      await etcd.remove();
      if (!(error instanceof PortTaken) || options.port !== undefined) throw error;
    }
  }
}

/** Starts `count` independent single-node etcds, named shard0, shard1, … with the limits of shards. */
export function startEtcds(count: number, options: Omit<EtcdOptions, "dir"> = {}): Promise<EtcdProcess[]> {
  const flags = [...SHARD_FLAGS, ...(options.flags ?? [])];
  return Promise.all(
    Array.from({ length: count }, (_, i) => startEtcd({ name: `shard${i}`, ...options, flags })),
  );
}

/** A real cluster: its members share one Raft group. */
export interface EtcdCluster {
  readonly members: readonly EtcdProcess[];
  /** `127.0.0.1:port` of every member. */
  readonly endpoints: readonly string[];
  /** The running member that leads now; waits for an election if it must. */
  leader(): Promise<EtcdProcess>;
  remove(): Promise<void>;
}

/** Starts one etcd cluster of `size` members and resolves when all of them answer. */
export async function startCluster(
  size = 3,
  options: Omit<EtcdOptions, "port" | "dir"> = {},
): Promise<EtcdCluster> {
  for (;;) {
    const ports = await Promise.all(Array.from({ length: size }, freePort));
    const members = await Promise.all(
      ports.map(async (_, index) => new EtcdProcess(await planMember(options, { ports, index }))),
    );
    const remove = async () => {
      await Promise.all(members.map((member) => member.remove()));
    };
    try {
      await Promise.all(members.map((member) => member.start()));
      await Promise.all(members.map((member) => member.ready()));
    } catch (error) {
      await remove();
      if (error instanceof PortTaken) continue;
      throw error;
    }
    return { members, endpoints: members.map((m) => m.endpoint), leader: () => findLeader(members), remove };
  }
}

async function findLeader(members: readonly EtcdProcess[]): Promise<EtcdProcess> {
  const deadline = Date.now() + START_TIMEOUT;
  while (Date.now() < deadline) {
    for (const member of members) {
      if (!member.isRunning) continue;
      const status = await post<StatusReply>(member.url, "/v3/maintenance/status");
      if (status?.leader && status.leader === status.header?.member_id) return member;
    }
    await pause(20);
  }
  throw new Error("the cluster has no leader");
}

/** Peer ports of all members of a cluster, and which of them is meant. */
interface Place {
  readonly ports: readonly number[];
  readonly index: number;
}

async function planMember(options: EtcdOptions, place?: Place): Promise<Layout> {
  const binary = options.binary ?? etcdBinary;
  const label = options.name ?? "default";
  const { ports, index } = place ?? { ports: [await freePort()], index: 0 };
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), "braid-etcd-"));
  if (options.dir === undefined) directories.add(dir);
  const port = options.port ?? (await freePort());
  const quick = !options.fsync && (await canSkipFsync(binary)) ? ["--unsafe-no-fsync"] : [];
  return {
    label,
    name: `${label}-${ports[index]}`,
    dir,
    ownsDir: options.dir === undefined,
    binary,
    port,
    clientUrl: `http://127.0.0.1:${port}`,
    peerUrl: `http://127.0.0.1:${ports[index]}`,
    initialCluster: ports.map((peer) => `${label}-${peer}=http://127.0.0.1:${peer}`).join(","),
    flags: [...quick, ...(options.flags ?? [])],
  };
}

const helpTexts = new Map<string, Promise<string>>();

async function canSkipFsync(binary: string): Promise<boolean> {
  let help = helpTexts.get(binary);
  if (!help) {
    help = promisify(execFile)(binary, ["--help"]).then(
      ({ stdout, stderr }) => stdout + stderr,
      (error) => {
        throw new Error(`cannot run ${binary} (set BRAID_TEST_ETCD to an etcd binary): ${error.message}`);
      },
    );
    helpTexts.set(binary, help);
  }
  return (await help).includes("--unsafe-no-fsync");
}

interface StatusReply {
  leader?: string;
  header?: { member_id?: string };
}

async function post<Reply>(url: string, path: string): Promise<Reply | undefined> {
  try {
    const request = { method: "POST", body: "{}", signal: AbortSignal.timeout(2_000) };
    return (await (await fetch(url + path, request)).json()) as Reply;
  } catch {
    return undefined; // this member is not answering; another one may
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Whether every thread of a process is stopped (Linux; elsewhere it is taken for granted). */
function isStopped(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((task) =>
      /\) T /.test(readFileSync(`/proc/${pid}/task/${task}/stat`, "utf8")),
    );
  } catch {
    return true;
  }
}
