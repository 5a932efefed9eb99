import { markdown, whereAndWhen } from "../document.js";
import type { Machine } from "../machine.js";
import { fixed, number, table } from "../report.js";
import type { FleetOptions } from "./options.js";
import type { FleetFigures } from "./run.js";

export interface FleetReport {
  readonly measuredAt: string;
  readonly machine: Machine;
  readonly options: FleetOptions;
  readonly figures: readonly FleetFigures[];
}

export const FLEET_HEAD: readonly string[] = [
  "proxies",
  "writes/s",
  "sealed/s",
  "appends/s",
  "seal p50 ms",
  "seal p99 ms",
  "host cores",
  "host µs/write",
  "sent bytes/write",
  "disk bytes/write",
  "KiB/s read by each",
  "cores each",
];

export function fleetRows(figures: readonly FleetFigures[]): string[][] {
  return figures.map((f) => [
    `${f.proxies}`,
    `${f.writes}`,
    number(f.sealedPerSecond),
    number(f.appendsPerSecond),
    number(f.sealP50Ms),
    number(f.sealP99Ms),
    fixed(f.hostCpu, 2),
    number(f.hostMicrosecondsPerWrite),
    number(f.sentPerWrite),
    number(f.storedPerWrite),
    number(f.readPerSecond / 1024),
    fixed(f.proxyCpu, 3),
  ]);
}

/** The report as a part of docs/performance.md. */
export const fleetDocument = (report: FleetReport): string =>
  [
    `${whereAndWhen(report)}; ${report.options.slice} ms each.`,
    "",
    ...markdown(FLEET_HEAD, fleetRows(report.figures)),
  ].join("\n");

/** The report as text for a terminal. */
export function renderFleet({ machine, options, figures }: FleetReport): string {
  return [
    `${machine.cores} cores (${machine.model}), ${machine.memoryGiB} GiB, Linux ${machine.kernel}; ` +
      `fsync ${machine.fsyncMs.toFixed(2)} ms`,
    `etcd ${machine.etcd}, Node.js ${machine.node}, etcd-braid ${machine.braid}; ${options.slice} ms each`,
    "",
    table(FLEET_HEAD, fleetRows(figures), 0),
    "",
    "writes/s: of all proxies together, as many as are to be made. Shares of cores are of the host, and of each proxy's timeline.",
    "",
  ].join("\n");
}
