import { parseArgs } from "node:util";
import { countIn, countsIn } from "../options.js";

export const HELP = `npm run bench -- --scale [options]

Measures how writes grow with the shards. Each etcd, and the timeline host too, is held to the same small share of a core,
so that one machine shows what several would. Needs the right to make cgroups.

  --shards LIST       numbers of shards (default 1,2,4,8,16); one etcd without a proxy is always measured, too: with all
                      writers, and with the part of them that each shard has
  --writers LIST      writes in flight (default 256,1024)
  --values LIST       bytes of a value (default 256,4096)
  --workers LIST      processes of the proxy (default 1,2); more than one only with the largest number of shards
  --watchers N        watchers of all keys, in the load that counts watch events (default 4; 0: omit it)
  --share N           share of a core for each etcd, in percent (default 8)
  --rounds N          slices of each load; results are the medians (default 3)
  --slice MS          length of a slice (default 2000)
  --dir DIR           folder for the etcds' data (default /dev/shm if there is one, else .cache: one disk cannot sync the logs of
                      all etcds as fast as their own disks could)
  --output FILE       JSON, with a chart beside it (default bench/results/scale.json; bench/results/partial-scale.json with
                      any other option than --dir)
  --help

BRAID_TEST_ETCD is the etcd binary (default: etcd on the PATH).`;

export interface ScaleOptions {
  /** Numbers of shards, ascending. */
  readonly shards: readonly number[];
  readonly writers: readonly number[];
  readonly valueBytes: readonly number[];
  readonly workers: readonly number[];
  readonly watchers: number;
  /** Percent of a core for each etcd. */
  readonly share: number;
  readonly rounds: number;
  /** Milliseconds. */
  readonly slice: number;
  readonly dir: string | undefined;
  readonly output: string | undefined;
  /** True if everything is measured in full. */
  readonly complete: boolean;
}

/** Parses the command line after `--scale`. Returns undefined for `--help`. Throws an Error if it is wrong. */
export function parseScaleOptions(args: readonly string[]): ScaleOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scale: { type: "boolean" },
      shards: { type: "string" },
      writers: { type: "string" },
      values: { type: "string" },
      workers: { type: "string" },
      watchers: { type: "string" },
      share: { type: "string" },
      rounds: { type: "string" },
      slice: { type: "string" },
      dir: { type: "string" },
      output: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const { scale, help, dir, output, ...measured } = values;
  return {
    shards: countsIn("--shards", values.shards, [1, 2, 4, 8, 16], [1, 64]),
    writers: countsIn("--writers", values.writers, [256, 1024], [1, 100_000]),
    valueBytes: countsIn("--values", values.values, [256, 4096], [1, 1_000_000]),
    workers: countsIn("--workers", values.workers, [1, 2], [1, 16]),
    watchers: countIn("--watchers", values.watchers, 4, [0, 10_000]),
    share: countIn("--share", values.share, 8, [1, 100]),
    rounds: countIn("--rounds", values.rounds, 3, [1, 100]),
    slice: countIn("--slice", values.slice, 2_000, [100, 600_000]),
    dir,
    output,
    complete: Object.values(measured).every((value) => value === undefined),
  };
}
