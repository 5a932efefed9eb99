import { parseArgs } from "node:util";
import { countIn } from "../options.js";

export const HELP = `npm run bench -- --soak [options]

Measures whether a proxy that runs for long becomes slower or larger. Clients put, read, list and delete keys, leases end, watches
come and go, and the store is compacted. Compares latency and memory at the end with those after some minutes.

  --minutes N         (default 30)
  --settle N          minutes until the first comparison (default 5)
  --writes N          writes a second (default 300)
  --dir DIR           folder for the etcds' data (default .cache)
  --output FILE       JSON (default bench/results/soak.json; bench/results/partial-soak.json with any other option than --dir)
  --help

BRAID_TEST_ETCD is the etcd binary (default: etcd on the PATH).`;

export interface SoakOptions {
  readonly minutes: number;
  readonly settle: number;
  /** Per second. */
  readonly writes: number;
  readonly dir: string | undefined;
  readonly output: string | undefined;
  /** True if everything is measured in full. */
  readonly complete: boolean;
}

/** Parses the command line with `--soak`. Returns undefined for `--help`. Throws an Error if it is wrong. */
export function parseSoakOptions(args: readonly string[]): SoakOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      soak: { type: "boolean" },
      minutes: { type: "string" },
      settle: { type: "string" },
      writes: { type: "string" },
      dir: { type: "string" },
      output: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const { soak, help, dir, output, ...measured } = values;
  const minutes = countIn("--minutes", values.minutes, 30, [2, 10_000]);
  return {
    minutes,
    settle: countIn("--settle", values.settle, Math.min(5, minutes - 1), [1, minutes - 1]),
    writes: countIn("--writes", values.writes, 300, [1, 10_000]),
    dir,
    output,
    complete: Object.values(measured).every((value) => value === undefined),
  };
}
