import { parseArgs } from "node:util";
import { countIn } from "../options.js";

export const HELP = `npm run bench -- --cold [options]

Measures how long a proxy takes to be ready over a full store whose timeline has many segments, and its memory.

  --keys N            (default 1000000)
  --segments N        each as large as the keys allow (default 200000)
  --starts N          starts of the proxy; results are the medians (default 5)
  --dir DIR           folder for the etcds' data (default .cache)
  --output FILE       JSON (default bench/results/cold.json; bench/results/partial-cold.json with any other option than --dir)
  --help

BRAID_TEST_ETCD is the etcd binary (default: etcd on the PATH).`;

export interface ColdOptions {
  readonly keys: number;
  readonly segments: number;
  readonly starts: number;
  readonly dir: string | undefined;
  readonly output: string | undefined;
  /** True if everything is measured in full. */
  readonly complete: boolean;
}

/** Parses the command line with `--cold`. Returns undefined for `--help`. Throws an Error if it is wrong. */
export function parseColdOptions(args: readonly string[]): ColdOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      cold: { type: "boolean" },
      keys: { type: "string" },
      segments: { type: "string" },
      starts: { type: "string" },
      dir: { type: "string" },
      output: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const { cold, help, dir, output, ...measured } = values;
  return {
    keys: countIn("--keys", values.keys, 1_000_000, [1, 10_000_000]),
    segments: countIn("--segments", values.segments, 200_000, [1, 10_000_000]),
    starts: countIn("--starts", values.starts, 5, [1, 100]),
    dir,
    output,
    complete: Object.values(measured).every((value) => value === undefined),
  };
}
