import { PutRequest, RangeRequest } from "../src/wire/messages.js";
import { KV } from "../src/wire/paths.js";
import { callAll } from "./call.js";
import type { Task } from "./load/task.js";
import type { Peer, PeerName } from "./peers.js";

export const VALUE_BYTES = 256;
/** Number of existing keys. A scan reads all of them. */
export const KEYS = 1_000;
/** First segments of the keys. The default rule spreads them over the shards. */
const GROUPS = 50;

const COMPARED: readonly PeerName[] = ["direct", "pass-through", "grpc-proxy", "braid-1", "braid-3"];
const WORKERS: readonly PeerName[] = ["workers-1", "workers-2"];

/** A load to measure on several peers. */
export interface Workload {
  /** Name for `--only`. */
  readonly kind: WorkloadKind;
  /** The load: `16 x 16` means 16 connections with 16 requests in flight on each; or the number of watchers. */
  readonly load: string;
  /** Slices are longer by this factor. */
  readonly weight: number;
  /** Operations that one call of the proxy's functions serves: the watchers of an event. */
  readonly operationsPerCall: number;
  /** Peers that run at the same time. */
  readonly peers: readonly PeerName[];
  task(peer: Peer, milliseconds: number): Task;
}

/** Whether a workload is measured on this peer. Only puts show what a process in between costs beside a commit. */
export const isMeasured = ({ kind }: Pick<Workload, "kind">, peer: PeerName): boolean =>
  peer !== "pass-through" || kind === "put";

export const WORKLOAD_KINDS = ["put", "range", "scan", "watch", "workers"] as const;
export type WorkloadKind = (typeof WORKLOAD_KINDS)[number];

export interface FanoutSize {
  readonly watchers: number;
  /** Connections that all watchers share. */
  readonly connections: number;
  /** Percent of the watchers that do not read. */
  readonly stalled: number;
  readonly writesPerSecond: number;
}

export function workloads(size: FanoutSize): Workload[] {
  const loads: [number, number][] = [
    [1, 1],
    [1, 64],
    [16, 16],
  ];
  return [
    // A put's response is a header with a revision; a range also returns values.
    ...loads.map(([connections, inFlight]) => unary("put", KV.Put, puts, connections, inFlight, 8)),
    ...loads.map(([connections, inFlight]) =>
      unary("range", KV.Range, ranges, connections, inFlight, VALUE_BYTES),
    ),
    ...[1, 8].map((inFlight) => unary("scan", KV.Range, [scan], 1, inFlight, KEYS * VALUE_BYTES)),
    // Watchers as ids on a few streams, as in one client program, and watchers on one stream each.
    fanoutWorkload("ids", 1, size),
    fanoutWorkload("streams", Math.ceil(size.watchers / size.connections), size),
    ...[64, 256].map((connections) => jsonWorkload(connections)),
  ];
}

function unary(
  kind: WorkloadKind,
  path: string,
  requests: readonly Uint8Array[],
  connections: number,
  inFlight: number,
  leastBytes: number,
): Workload {
  const encoded = requests.map((request) => Buffer.from(request).toString("base64"));
  return {
    kind,
    load: `${connections} x ${inFlight}`,
    weight: 1,
    operationsPerCall: 1,
    peers: COMPARED,
    task: ({ port, pids }, milliseconds) => ({
      kind: "unary",
      port,
      pids,
      milliseconds,
      path,
      requests: encoded,
      connections,
      inFlight,
      leastBytes,
    }),
  };
}

function fanoutWorkload(what: string, streams: number, size: FanoutSize): Workload {
  const { watchers, connections, writesPerSecond } = size;
  return {
    kind: "watch",
    load: `${watchers} ${what}`,
    weight: 2,
    operationsPerCall: watchers,
    peers: COMPARED,
    task: ({ port, pids }, milliseconds) => ({
      kind: "fanout",
      port,
      pids,
      milliseconds,
      prefix: "/watched",
      groups: GROUPS,
      watchers,
      stalled: Math.ceil((watchers * size.stalled) / 100),
      connections,
      streams,
      writesPerSecond,
      valueBytes: VALUE_BYTES,
    }),
  };
}

/**
 * Work for proxies that leaves the etcds idle: the proxy reads and writes JSON for every request, and equal ranges that arrive
 * together are one range for an etcd.
 */
function jsonWorkload(connections: number): Workload {
  return {
    kind: "workers",
    load: `${connections} JSON`,
    weight: 1,
    operationsPerCall: 1,
    peers: WORKERS,
    task: ({ port, pids }, milliseconds) => ({
      kind: "http",
      port,
      pids,
      milliseconds,
      path: "/v3/kv/range",
      body: JSON.stringify({ key: base64("/bench-0/"), range_end: base64("/bench-00") }),
      connections,
      leastBytes: (KEYS / GROUPS) * VALUE_BYTES,
    }),
  };
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");

const keys = Array.from({ length: KEYS }, (_, n) => Buffer.from(`/bench-${n % GROUPS}/key-${n}`));
const value = Buffer.alloc(VALUE_BYTES, "value ");
const puts = keys.map((key) => PutRequest.encode({ key, value }));
const ranges = keys.map((key) => RangeRequest.encode({ key }));
const scan = RangeRequest.encode({ key: Buffer.from("/bench-"), rangeEnd: Buffer.from("/bench.") });

/** Puts the keys that ranges and scans read. */
export async function preload({ port }: Peer): Promise<void> {
  await callAll(port, KV.Put, puts);
}
