import type { Machine } from "../machine.js";
import { table } from "../report.js";
import { median } from "../statistics.js";
import type { SoakOptions } from "./options.js";
import type { Minute } from "./run.js";

export interface SoakReport {
  readonly measuredAt: string;
  readonly machine: Machine;
  readonly options: SoakOptions;
  readonly figures: readonly Minute[];
}

/** Minutes that are compared: the median of this many, so that one minute with other load on the machine does not decide. */
const COMPARED = 3;

/** The report as text for a terminal. */
export function renderSoak({ machine, options, figures }: SoakReport): string {
  const early = figures.slice(Math.max(0, options.settle - COMPARED), options.settle);
  const late = figures.slice(-Math.min(COMPARED, figures.length - options.settle));
  const compare = (what: string, of: (minute: Minute) => number, digits: number, unit: string): string[] => {
    const [first, last] = [early, late].map((minutes) => median(minutes.map(of)));
    return [
      what,
      `${first.toFixed(digits)} ${unit}`,
      `${last.toFixed(digits)} ${unit}`,
      (last / first).toFixed(2),
    ];
  };
  const mib = (bytes: number): number => bytes / 2 ** 20;
  const sum = (of: (minute: Minute) => number): number =>
    figures.reduce((total, minute) => total + of(minute), 0);
  return [
    `${machine.cores} cores (${machine.model}), ${machine.memoryGiB} GiB, Linux ${machine.kernel}; ` +
      `etcd ${machine.etcd}, Node.js ${machine.node}, etcd-braid ${machine.braid}`,
    "",
    `${options.minutes} minutes: ${sum(({ calls }) => calls)} calls, ${sum(({ events }) => events)} events, ` +
      `${sum(({ watches }) => watches)} watches, ${sum(({ leases }) => leases)} leases, ${sum(({ errors }) => errors)} errors`,
    "",
    table(
      ["", `after ${options.settle} minutes`, "at the end", "ratio"],
      [
        compare("put p50", ({ putP50 }) => putP50, 2, "ms"),
        compare("put p99", ({ putP99 }) => putP99, 1, "ms"),
        compare("read p50", ({ readP50 }) => readP50, 2, "ms"),
        compare("read p99", ({ readP99 }) => readP99, 1, "ms"),
        compare("list p99", ({ listP99 }) => listP99, 1, "ms"),
        compare("CPU of the proxy, of a core", ({ proxyCpu }) => proxyCpu * 100, 1, "%"),
        compare("memory of the proxy", ({ proxyMemory }) => mib(proxyMemory), 0, "MiB"),
        compare("memory of the etcds", ({ etcdMemory }) => mib(etcdMemory), 0, "MiB"),
      ],
    ),
    "",
  ].join("\n");
}
