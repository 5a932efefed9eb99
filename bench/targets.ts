import type { PeerName } from "./peers.js";
import type { Figures, Outcome } from "./run.js";
import type { WorkloadKind } from "./workloads.js";

/** A target for the cost of a proxy over three shards, and the measured value. */
export interface Target {
  readonly what: string;
  readonly limit: number;
  /** The unit of `limit` and `measured`; empty for ratios. */
  readonly unit: string;
  /** The side of the limit that meets the target. */
  readonly good: "at most" | "at least";
  readonly measured: number;
}

const MIB = 2 ** 20;

const proxy = ({ cpu }: Figures): number => cpu.proxy;
const proxyAndEtcd = ({ cpu }: Figures): number => cpu.proxy + cpu.etcd;

/** All targets with complete measurements. */
export function targets({ figures, idleMemory }: Outcome): Target[] {
  const of = (value: (f: Figures) => number, peer: PeerName, kind: WorkloadKind, load: string): number => {
    const found = figures.find((f) => f.peer === peer && f.kind === kind && f.load === load);
    return found === undefined ? Number.NaN : value(found);
  };
  /** etcd-braid over three shards, compared with another peer. */
  const ratio = (value: (f: Figures) => number, peer: PeerName, kind: WorkloadKind, load: string): number =>
    of(value, "braid-3", kind, load) / of(value, peer, kind, load);
  const atMost = (what: string, limit: number, measured: number, unit = ""): Target => ({
    what,
    limit,
    unit,
    good: "at most",
    measured,
  });
  const watched = [...new Set(figures.filter((f) => f.kind === "watch").map((f) => f.load))];
  const all: Target[] = [
    ...(["put", "range"] as const).flatMap((kind) =>
      (["1 x 64", "16 x 16", "1 x 1"] as const).map((load) =>
        atMost(
          `proxy CPU per ${kind}, ${load}, against grpc-proxy`,
          load === "1 x 1" ? 0.55 : kind === "put" ? 0.3 : 0.2,
          ratio(proxy, "grpc-proxy", kind, load),
        ),
      ),
    ),
    {
      what: "throughput of range, 16 x 16, against direct",
      limit: 0.75,
      unit: "",
      good: "at least",
      measured: ratio((f) => f.perSecond, "direct", "range", "16 x 16"),
    },
    atMost(
      "p50 of put, 1 x 1, against direct",
      2.3,
      ratio((f) => f.p50Ms, "direct", "put", "1 x 1"),
    ),
    ...watched.map((load) =>
      atMost(
        `proxy CPU per watch event, ${load}, against grpc-proxy`,
        load.endsWith("ids") ? 0.35 : 0.15,
        ratio(proxy, "grpc-proxy", "watch", load),
      ),
    ),
    atMost("proxy memory, idle", 90, (idleMemory["braid-3"] ?? Number.NaN) / MIB, "MiB"),
    // With the target's number of watchers: of a fresh proxy, and of one that has served the whole run.
    atMost(
      "proxy memory, 1,000 watchers after their fan-out, of a fresh proxy",
      120,
      of((f) => (f.firstMemory ?? Number.NaN) / MIB, "braid-3", "watch", "1000 ids"),
      "MiB",
    ),
    atMost(
      "the same of a proxy that has served the other loads too",
      120,
      of((f) => (f.proxyMemory ?? Number.NaN) / MIB, "braid-3", "watch", "1000 ids"),
      "MiB",
    ),
    // With few watchers, the difference disappears in the proxy's other work.
    ...watched
      .filter((load) => Number.parseInt(load, 10) >= 1000)
      .map((load) =>
        atMost(
          `proxy memory per watcher, ${load}, idle`,
          4,
          of((f) => (f.watcherBytes ?? Number.NaN) / 1024, "braid-3", "watch", load),
          "KiB",
        ),
      ),
    atMost(
      "proxy and etcd CPU per scan, 1 x 1, against direct",
      1.8,
      ratio(proxyAndEtcd, "direct", "scan", "1 x 1"),
    ),
  ];
  return all.filter(({ measured }) => Number.isFinite(measured));
}
