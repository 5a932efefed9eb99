import { parseArgs } from "node:util";
import { PEERS, type PeerName } from "./peers.js";
import { WORKLOAD_KINDS, type WorkloadKind } from "./workloads.js";

export const HELP = `npm run bench -- [options]

Measures puts, linearizable ranges, ranges over several shards, and watch fan-out: against an etcd directly, through
etcd's own grpc-proxy, and through etcd-braid with one and with three shards, in turns within one run. Puts also through
a process that only passes bytes on. Then ranges over the JSON gateway, of one and of two workers.

  --scale             measures instead how writes grow with the shards; --scale --help lists its options
  --fleet             measures instead what the timeline costs with many proxies; --fleet --help lists its options
  --clients           measures instead a proxy with many clients, and their move to another; --clients --help
  --cold              measures instead how long a proxy takes to start over a full store; --cold --help
  --soak              measures instead whether a proxy becomes slower or larger in half an hour; --soak --help

  --quick             short slices and warm-ups, few rounds: one to two minutes, rough results
  --only LIST         of ${WORKLOAD_KINDS.join(", ")}
  --peers LIST        of ${PEERS.join(", ")}
  --rounds N          number of turns of each peer; results are the medians (default 5)
  --slice MS          length of one turn (default 1500; watch: twice that)
  --watchers N        watchers in the fan-out (default 1000)
  --connections N     connections that the watchers share (default 8)
  --stalled N         additional watchers that stop reading, in percent of the watchers (default none)
  --writes N          writes per second in the fan-out (default 200)
  --no-fsync          etcds without fsync (3.5 and later)
  --dir DIR           folder for the etcds' data, on the disk to measure (default .cache)
  --output FILE       JSON (default bench/results/latest.json; bench/results/partial.json unless everything is measured
                      in full)
  --help

BRAID_TEST_ETCD is the etcd binary (default: etcd on the PATH).`;

export interface Options {
  readonly only: readonly WorkloadKind[];
  readonly peers: readonly PeerName[];
  readonly rounds: number;
  /** Length of one measurement, in milliseconds. */
  readonly slice: number;
  /** Longest warm-up of a load on a peer, in milliseconds. */
  readonly warmUp: number;
  readonly watchers: number;
  readonly connections: number;
  /** Percent. */
  readonly stalled: number;
  readonly writesPerSecond: number;
  readonly fsync: boolean;
  readonly dir: string | undefined;
  readonly output: string | undefined;
  /** False if results are rough or incomplete. */
  readonly complete: boolean;
}

/** Parses the command line. Returns undefined for `--help`. Throws an Error if it is wrong. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      peers: { type: "string" },
      rounds: { type: "string" },
      slice: { type: "string" },
      watchers: { type: "string" },
      connections: { type: "string" },
      stalled: { type: "string" },
      writes: { type: "string" },
      "no-fsync": { type: "boolean", default: false },
      dir: { type: "string" },
      output: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const { quick } = values;
  const { only, peers, rounds, slice, watchers, connections, stalled, writes } = values;
  const length = count("--slice", slice, quick ? 600 : 1500);
  const reduced = [only, peers, rounds, slice, watchers, connections, stalled, writes];
  return {
    only: list("--only", values.only, WORKLOAD_KINDS),
    peers: list("--peers", values.peers, PEERS),
    rounds: count("--rounds", values.rounds, quick ? 3 : 5),
    slice: length,
    warmUp: length * (quick ? 5 : 40),
    watchers: count("--watchers", values.watchers, 1000),
    connections: count("--connections", values.connections, 8),
    stalled: count("--stalled", values.stalled, 0),
    writesPerSecond: count("--writes", values.writes, 200),
    fsync: !values["no-fsync"],
    dir: values.dir,
    output: values.output,
    complete: !quick && !values["no-fsync"] && reduced.every((value) => value === undefined),
  };
}

function list<T extends string>(flag: string, given: string | undefined, known: readonly T[]): readonly T[] {
  if (given === undefined) return known;
  const names = given.split(",");
  const unknown = names.find((name) => !known.includes(name as T));
  if (unknown !== undefined) throw new Error(`${flag}: "${unknown}" is not one of ${known.join(", ")}`);
  return known.filter((name) => names.includes(name));
}

function count(flag: string, given: string | undefined, otherwise: number): number {
  if (given === undefined) return otherwise;
  if (!/^[1-9]\d{0,5}$/.test(given)) throw new Error(`${flag}: "${given}" is not a number from 1 to 999999`);
  return Number(given);
}

/** The least and the most that an option may be. */
export type Bounds = readonly [least: number, most: number];

/** A comma-separated list of whole numbers, ascending and without repetitions. Throws an Error for anything else. */
export function countsIn(
  flag: string,
  given: string | undefined,
  otherwise: readonly number[],
  bounds: Bounds,
): number[] {
  if (given === undefined) return [...otherwise];
  const all = given.split(",").map((text) => countIn(flag, text, 0, bounds));
  return [...new Set(all)].sort((a, b) => a - b);
}

/** A whole number. Throws an Error for anything else. */
export function countIn(
  flag: string,
  given: string | undefined,
  otherwise: number,
  [least, most]: Bounds,
): number {
  if (given === undefined) return otherwise;
  const value = /^\d{1,8}$/.test(given) ? Number(given) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new Error(`${flag}: "${given}" is not a number from ${least} to ${most}`);
}
