import type { Machine } from "../machine.js";
import { isMet, measuredText, table } from "../report.js";
import type { Target } from "../targets.js";
import type { ClientsOptions } from "./options.js";
import type { ClientsFigures } from "./run.js";

export interface ClientsReport {
  readonly measuredAt: string;
  readonly machine: Machine;
  readonly options: ClientsOptions;
  readonly figures: ClientsFigures;
  readonly targets: readonly Target[];
}

export function createClientsReport(
  machine: Machine,
  options: ClientsOptions,
  figures: ClientsFigures,
): ClientsReport {
  const { memory, idle } = figures;
  const perClient = (memory.during - memory.before) / options.clients;
  const atMost = (what: string, limit: number, measured: number, unit: string): Target => ({
    what,
    limit,
    unit,
    good: "at most",
    measured,
  });
  return {
    measuredAt: new Date().toISOString(),
    machine,
    options,
    figures,
    targets: [
      atMost("memory of the proxy per client", 8, perClient / 1024, "KiB"),
      atMost("CPU time of the proxy while clients are idle", 3, idle.proxy * 100, "% of a core"),
    ],
  };
}

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

/** The report as text for a terminal. */
export function renderClients({ machine, options, figures, targets }: ClientsReport): string {
  const { memory, idle, moves } = figures;
  const rows = moves.map((move) => [
    move.signal,
    move.seconds.toFixed(1),
    move.cpu.proxy.toFixed(1),
    move.cpu.etcds.toFixed(1),
    `${move.written}`,
    `${move.wrong}`,
    `${move.leasesLost}`,
    Object.entries(move.calls)
      .map(([method, count]) => `${method} ${count}`)
      .join(", "),
  ]);
  return [
    `${machine.cores} cores (${machine.model}), ${machine.memoryGiB} GiB, Linux ${machine.kernel}; ` +
      `etcd ${machine.etcd}, Node.js ${machine.node}, etcd-braid ${machine.braid}`,
    "",
    `${options.clients} clients: all served after ${figures.openSeconds.toFixed(1)} s`,
    `memory of the proxy: ${mib(memory.before)} MiB without clients, ${mib(memory.during)} MiB with all, ` +
      `${mib(memory.after)} MiB after they left`,
    `idle: ${(idle.proxy * 100).toFixed(1)} % of a core for the proxy, ${(idle.etcds * 100).toFixed(1)} % for the etcds`,
    "",
    table(
      ["move", "s", "proxy CPU s", "etcd CPU s", "events", "wrong", "leases lost", "calls to the etcds"],
      rows,
    ),
    "",
    table(
      ["target", "wanted", "measured", ""],
      targets.map((target) => [
        target.what,
        `at most ${target.limit} ${target.unit}`,
        measuredText(target),
        isMet(target) ? "met" : "missed",
      ]),
      2,
    ),
    "",
  ].join("\n");
}
