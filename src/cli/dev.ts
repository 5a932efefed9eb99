import { spawn } from "node:child_process";
import { once } from "node:events";
import { relative, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { FolderInUse } from "../dev/folderLock.js";
import { type Layout, recordGrowth, TooManyShards } from "../dev/layout.js";
import { isFree } from "../dev/ports.js";
import { type CommandLine, type Store, startStore } from "../dev/store.js";
import { version } from "../ops/package.js";
import { CommandError, Exit } from "./exit.js";
import { onSignals } from "./signals.js";
import { formatTable } from "./table.js";

/** etcd's default port, which clients try first. */
const DEFAULT_PORT = 2379;

export interface DevOptions {
  /** Loopback port of the proxy; undefined: the default port, or another if that is in use. */
  port: number | undefined;
  /** Data folder. */
  data: string;
  /** Number of shards; undefined: as many as the store has, or three. */
  shards: number | undefined;
}

/** `braid dev`: runs a store on this machine, some etcds and a proxy, until a signal ends it. */
export async function dev(options: DevOptions): Promise<number> {
  const dir = resolve(options.data);
  const port = await choosePort(options.port);
  let stopping = false;
  let store: Store | undefined;
  const ended = new Promise<void>((resolve, reject) => {
    onSignals(
      () => {
        stopping = true;
        if (!store) process.exit(Exit.ok); // still starting: the child processes end with this one
        say("\nStopping …");
        store.stop().then(resolve, reject);
      },
      () => {
        store?.kill().then(resolve, reject);
      },
    );
  });
  say(`etcd-braid ${version}: starting the etcds and the proxy …`);
  try {
    store = await startStore({
      dir,
      port,
      shards: options.shards,
      serve: braidCommand("serve"),
      say: (line) => {
        if (!stopping) say(line);
      },
    });
  } catch (error) {
    if (error instanceof FolderInUse) {
      throw new CommandError(
        Exit.failure,
        `${error.message}. Stop it first, or choose another folder with --data.`,
      );
    }
    if (error instanceof TooManyShards)
      throw new CommandError(Exit.usage, `--shards: ${error.message}; braid dev does not remove any`);
    throw new CommandError(Exit.failure, (error as Error).message);
  }
  say(welcome(store, dir));
  const { grownFile } = store.layout;
  if (grownFile !== undefined) {
    const isGrown = await grow(store.layout, grownFile);
    if (isGrown && !stopping) {
      recordGrowth(store.layout);
      say(`\nThe store has ${store.layout.shards.length} shards now.`);
    }
  }
  await ended;
  return Exit.ok;
}

/** Makes the new etcds shards of the store, as an operator would. Resolves to false if that has failed, or was interrupted. */
async function grow(layout: Layout, file: string): Promise<boolean> {
  say(
    `\nThe store grows to ${layout.shards.length} shards: braid apply --config ${file} --current ${layout.configFile}\n`,
  );
  // A start before may have recorded the plan.
  const watched = await runBraid("apply", "--config", layout.configFile, "--watch");
  return watched && (await runBraid("apply", "--config", file, "--current", layout.configFile, "--yes"));
}

async function runBraid(...args: string[]): Promise<boolean> {
  const [command, ...rest] = braidCommand(...args);
  const child = spawn(command, rest, { stdio: ["ignore", "inherit", "inherit"] });
  const [code] = await once(child, "exit");
  return code === 0;
}

async function choosePort(given: number | undefined): Promise<number> {
  const wanted = given ?? DEFAULT_PORT;
  if (await isFree(wanted)) return wanted;
  let next = wanted + 1;
  while (!(await isFree(next))) next++;
  const taken = `127.0.0.1:${wanted} is in use by another process`;
  if (given !== undefined) {
    throw new CommandError(Exit.failure, `${taken}. To use the next free port: --port ${next}`);
  }
  if (!process.stdin.isTTY) {
    say(`${taken} (perhaps a system etcd). Using the next free port, ${next}.`);
    return next;
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-C and Ctrl-D mean no.
  const closed = once(terminal, "close").then(() => "n");
  const question = `${taken} (perhaps a system etcd). Use ${next} instead? [Y/n] `;
  const answer = await Promise.race([terminal.question(question).catch(() => "n"), closed]);
  terminal.close();
  if (/^\s*n/i.test(answer)) throw new CommandError(Exit.failure, "Not started.");
  return next;
}

/** A command line of this program: compiled, from its sources, or as the single executable. */
function braidCommand(...args: string[]): CommandLine {
  return [process.execPath, ...process.execArgv, process.argv[1]!, ...args];
}

function welcome(store: Store, dir: string): string {
  const { layout } = store;
  const pids = store.pids();
  const nearby = relative(process.cwd(), dir) || ".";
  const shown = nearby.startsWith("..") ? dir : nearby;
  const rows = [
    ["WHAT", "WHERE", "PROCESS", "DATA"],
    ["proxy", layout.listen, String(pids.proxy ?? "-"), ""],
    ...layout.shards.map(({ name, clientUrl }, i) => [
      `shard ${name}`,
      clientUrl.replace("http://", ""),
      String(pids.shards[i] ?? "-"),
      `${shown}/etcd-${name}`,
    ]),
  ];
  return [
    "",
    formatTable(rows),
    "",
    "The store is ready. In another terminal:",
    `  etcdctl --endpoints ${layout.listen} put /demo/greeting hello`,
    `  etcdctl --endpoints ${layout.listen} get --prefix /demo/`,
    `  etcdctl --endpoints ${layout.listen} watch --prefix ""`,
    `  npx braid route --config ${shown}/shards.yaml /demo/greeting`,
    "",
    `The console, in a browser: http://${layout.console}/console/`,
    "",
    `Press Ctrl-C to stop it. The data stays in ${shown}.`,
  ].join("\n");
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
