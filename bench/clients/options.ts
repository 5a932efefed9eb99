import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { countIn } from "../options.js";

export const HELP = `npm run bench -- --clients [options]

Measures a proxy with many clients. Each has a connection, a watch, and a lease that it keeps alive: time until all are
served, memory, CPU time while they are idle, and memory after they left. Then the proxy is killed, or stopped, and all
clients move to another one: time until all are served, what that costs the shards, and whether an event is lost.

  --clients N         (default 20000, or as many as the limit of open files allows)
  --keys N            keys that they watch, each by the same number of clients (default 50)
  --writes N          writes per second to these keys while clients move (default 20)
  --ttl N             seconds of each lease, which is kept alive three times as often (default 60)
  --ping N            seconds between pings of a client; 0: none (default 30)
  --idle N            seconds of the idle measurement (default 20)
  --dir DIR           folder for the etcds' data (default .cache)
  --output FILE       JSON (default bench/results/clients.json; bench/results/partial-clients.json with any other option than
                      --dir)
  --help

BRAID_TEST_ETCD is the etcd binary (default: etcd on the PATH).`;

export interface ClientsOptions {
  readonly clients: number;
  readonly keys: number;
  readonly writesPerSecond: number;
  /** Seconds. */
  readonly ttl: number;
  /** Seconds; 0: none. */
  readonly ping: number;
  /** Seconds. */
  readonly idle: number;
  readonly dir: string | undefined;
  readonly output: string | undefined;
  /** True if everything is measured in full. */
  readonly complete: boolean;
}

const MOST_CLIENTS = 20_000;
/** Open files that a process needs beside its clients' connections. */
const OTHER_FILES = 500;

/** Parses the command line with `--clients`. Returns undefined for `--help`. Throws an Error if it is wrong. */
export function parseClientsOptions(args: readonly string[]): ClientsOptions | undefined {
  const { values } = parseArgs({
    args: args.map((arg, i) => (arg === "--clients" && !/^\d/.test(args[i + 1] ?? "") ? "--many" : arg)),
    options: {
      many: { type: "boolean" },
      clients: { type: "string" },
      keys: { type: "string" },
      writes: { type: "string" },
      ttl: { type: "string" },
      ping: { type: "string" },
      idle: { type: "string" },
      dir: { type: "string" },
      output: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const { many, help, dir, output, ...measured } = values;
  const most = Math.min(MOST_CLIENTS, openFiles() - OTHER_FILES);
  return {
    clients: countIn("--clients", values.clients, most, [1, most]),
    keys: countIn("--keys", values.keys, 50, [1, 10_000]),
    writesPerSecond: countIn("--writes", values.writes, 20, [1, 10_000]),
    ttl: countIn("--ttl", values.ttl, 60, [3, 100_000]),
    ping: countIn("--ping", values.ping, 30, [0, 100_000]),
    idle: countIn("--idle", values.idle, 20, [1, 3_600]),
    dir,
    output,
    complete: Object.values(measured).every((value) => value === undefined),
  };
}

/** Files that a process may have open, as far as it may raise its limit. */
function openFiles(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "latin1");
    return Number(/^Max open files +\d+ +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
