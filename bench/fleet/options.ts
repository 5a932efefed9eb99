import { parseArgs } from "node:util";
import { type Bounds, countIn, countsIn } from "../options.js";

export const HELP = `npm run bench -- --fleet [options]

Measures what the timeline costs when many proxies write. All proxies of a fleet follow one log on a real etcd; the shards
are only counters, so that nothing else limits the log. Each proxy has its timeline and its connections, and several share
a thread.

  --proxies LIST      numbers of proxies (default 1,4,16,64)
  --writes LIST       writes per second of all proxies together (default 500,2000,8000)
  --shards N          shards that the writes are spread over (default 8)
  --threads N         threads that run the proxies (default 2)
  --slice MS          length of each measurement (default 4000)
  --dir DIR           folder for the etcd's data (default .cache)
  --output FILE       JSON (default bench/results/fleet.json; bench/results/partial-fleet.json with any other option than
                      --dir)
  --help

BRAID_TEST_ETCD is the etcd binary (default: etcd on the PATH).`;

export interface FleetOptions {
  readonly proxies: readonly number[];
  /** Per second, of all proxies together. */
  readonly writes: readonly number[];
  readonly shards: number;
  readonly threads: number;
  /** Milliseconds. */
  readonly slice: number;
  readonly dir: string | undefined;
  readonly output: string | undefined;
  /** True if everything is measured in full. */
  readonly complete: boolean;
}

const PROXIES: Bounds = [1, 512];

/** Parses the command line with `--fleet`. Returns undefined for `--help`. Throws an Error if it is wrong. */
export function parseFleetOptions(args: readonly string[]): FleetOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      fleet: { type: "boolean" },
      proxies: { type: "string" },
      writes: { type: "string" },
      shards: { type: "string" },
      threads: { type: "string" },
      slice: { type: "string" },
      dir: { type: "string" },
      output: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const { fleet, help, dir, output, ...measured } = values;
  return {
    proxies: countsIn("--proxies", values.proxies, [1, 4, 16, 64], PROXIES),
    writes: countsIn("--writes", values.writes, [500, 2_000, 8_000], [1, 100_000]),
    shards: countIn("--shards", values.shards, 8, [1, 8]),
    threads: countIn("--threads", values.threads, 2, [1, 16]),
    slice: countIn("--slice", values.slice, 4_000, [100, 600_000]),
    dir,
    output,
    complete: Object.values(measured).every((value) => value === undefined),
  };
}
