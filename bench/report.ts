import type { Machine } from "./machine.js";
import type { Options } from "./options.js";
import type { Figures, Outcome } from "./run.js";
import { type Target, targets } from "./targets.js";

export interface Report {
  readonly measuredAt: string;
  readonly machine: Machine;
  readonly options: Options;
  readonly idleMemory: Outcome["idleMemory"];
  readonly figures: readonly Figures[];
  /** Responses per second of two workers divided by those of one, by load; undefined if they were not measured. */
  readonly twoWorkers: Readonly<Record<string, number>> | undefined;
  readonly targets: readonly Target[];
}

export function createReport(machine: Machine, options: Options, outcome: Outcome): Report {
  return {
    measuredAt: new Date().toISOString(),
    machine,
    options,
    idleMemory: outcome.idleMemory,
    figures: outcome.figures,
    twoWorkers: compareWorkers(outcome.figures),
    targets: targets(outcome),
  };
}

function compareWorkers(figures: readonly Figures[]): Readonly<Record<string, number>> | undefined {
  const ratios = figures.flatMap((two) => {
    const one = figures.find((f) => f.peer === "workers-1" && f.kind === two.kind && f.load === two.load);
    const isKnown = two.peer === "workers-2" && one !== undefined;
    return isKnown ? [[two.load, two.perSecond / one.perSecond] as const] : [];
  });
  return ratios.length > 0 ? Object.fromEntries(ratios) : undefined;
}

/** The ratios as text. */
export function workersText(ratios: Readonly<Record<string, number>>): string {
  const each = Object.entries(ratios).map(([load, ratio]) => `${ratio.toFixed(2)} (${load})`);
  return `Responses per second, two workers compared with one: ${each.join(", ")}.`;
}

/** The report as text for a terminal. */
export function render(report: Report): string {
  const { machine, options } = report;
  const parts = [
    `${machine.cores} cores (${machine.model}), ${machine.memoryGiB} GiB, Linux ${machine.kernel}; ` +
      `fsync ${machine.fsyncMs.toFixed(2)} ms${options.fsync ? "" : ", not used by the etcds"}`,
    `etcd ${machine.etcd}, Node.js ${machine.node}, etcd-braid ${machine.braid}; ` +
      `medians of ${options.rounds} rounds of ${options.slice} ms`,
    "",
    figuresTable(report.figures),
    "",
    "CPU: microseconds of CPU time per operation. Watch: per delivered event; latency from write to event, with " +
      `${options.writesPerSecond} writes/s.`,
    "vs: the peer's result divided by that of direct etcd or of grpc-proxy.",
  ];
  const wanted = options.watchers * options.writesPerSecond;
  if (report.figures.some((f) => f.kind === "watch" && f.perSecond < 0.9 * wanted)) {
    parts.push(
      `Watch: a peer with fewer than ${wanted} events per s does not keep up. Late events arrive in batches, which cost ` +
        "less per event (--writes N: fewer writes).",
    );
  }
  const puts = putRows(report.figures);
  if (puts.length > 0) parts.push("", table(PUT_HEAD, puts, 2));
  const watched = report.figures.filter((f) => f.watcherBytes !== undefined);
  if (watched.length > 0) {
    const cells = watched.map((f) => [
      f.peer,
      f.load,
      ((f.firstMemory ?? 0) / 2 ** 20).toFixed(0),
      ((f.proxyMemory ?? 0) / 2 ** 20).toFixed(0),
      (f.watcherBytes! / 1024).toFixed(1),
    ]);
    parts.push(
      "",
      table(
        ["memory of proxies", "load", "MiB at first", "MiB at the end", "KiB per watcher, idle"],
        cells,
        2,
      ),
    );
  }
  const worked = workRows(report.figures);
  if (worked.length > 0) parts.push("", table(WORK_HEAD, worked, 3));
  if (report.twoWorkers !== undefined) parts.push("", workersText(report.twoWorkers));
  if (report.targets.length > 0) {
    const rows = report.targets.map((target) => [
      target.what,
      `${target.good} ${target.limit} ${target.unit}`.trimEnd(),
      measuredText(target),
      isMet(target) ? "met" : "missed",
    ]);
    parts.push("", table(["target (three shards)", "wanted", "measured", ""], rows, 2));
  }
  for (const { kind, load, peer, errors, failures } of report.figures) {
    if (errors > 0) parts.push(`${kind} ${load} ${peer}: ${errors} requests failed`);
    for (const failure of failures)
      parts.push(`${kind} ${load} ${peer}: a round without results: ${failure}`);
  }
  return `${parts.join("\n")}\n`;
}

/** Where the proxies' CPU time goes: the columns of `workRows`. */
export const WORK_HEAD = [
  "proxy, per operation",
  "load",
  "peer",
  "CPU",
  "kernel %",
  "reads",
  "writes",
  "waits",
];

/** Rows for the proxies that the targets compare. For watches: per write to the store, whose event all watchers get. */
export function workRows(figures: readonly Figures[]): string[][] {
  return figures.flatMap(({ kind, load, peer, cpu, proxyWork: work }) => {
    if (work === undefined || (peer !== "grpc-proxy" && peer !== "braid-3")) return [];
    const each = kind === "watch" ? Number.parseInt(load, 10) : 1;
    const counts = [work.reads, work.writes, work.waits].map((count) => fixed(count * each, 2));
    const what = kind === "watch" ? "watch, per write" : kind;
    return [[what, load, peer, number(cpu.proxy * each), fixed(work.kernelShare * 100, 0), ...counts]];
  });
}

/** The parts of a put, in milliseconds: the columns of `putRows`. */
export const PUT_HEAD = [
  "put, on average",
  "peer",
  "ms",
  "of which the shard",
  "the seal",
  "the rest",
  "an append",
  "appends per 1,000",
];

export function putRows(figures: readonly Figures[]): string[][] {
  return figures.flatMap(({ load, peer, put }) => {
    if (put === undefined) return [];
    const times = [put.totalMs, put.shardMs, put.sealMs, put.restMs, put.appendMs].map(ms);
    return [[load, peer, ...times, number(put.appendsPer1000)]];
  });
}

/** The measured value of a target, rounded. The memory of a watcher may be measured as slightly negative. */
export const measuredText = ({ measured, unit }: Target): string =>
  measured.toFixed(unit === "" ? 2 : 0).replace(/^-(?=0(\.0*)?$)/, "");

/** True if a target is met. */
export const isMet = ({ measured, limit, good }: Target): boolean =>
  good === "at most" ? measured <= limit : measured >= limit;

function figuresTable(figures: readonly Figures[]): string {
  const head = ["what", "load", "peer", "per s", "p50 ms", "p99 ms", "proxy CPU", "etcd CPU", "load CPU"];
  head.push("per s vs direct", "p50 vs direct", "all CPU vs direct", "proxy CPU vs grpc-proxy");
  const rows = figures.map((f) => {
    const like = (peer: string) =>
      figures.find((o) => o.peer === peer && o.kind === f.kind && o.load === f.load);
    const [direct, grpcProxy] = [like("direct"), like("grpc-proxy")];
    const isDirect = f.peer === "direct";
    return [
      f.kind,
      f.load,
      f.peer,
      number(f.perSecond),
      ms(f.p50Ms),
      ms(f.p99Ms),
      isDirect ? "" : number(f.cpu.proxy),
      number(f.cpu.etcd),
      number(f.cpu.load),
      isDirect ? "" : ratioOf(f.perSecond, direct?.perSecond),
      isDirect ? "" : ratioOf(f.p50Ms, direct?.p50Ms),
      isDirect ? "" : ratioOf(f.cpu.proxy + f.cpu.etcd, direct?.cpu.etcd),
      isDirect ? "" : ratioOf(f.cpu.proxy, grpcProxy?.cpu.proxy),
    ];
  });
  return table(head, rows, 3);
}

const NOT_MEASURED = "-";

export const fixed = (value: number, digits: number): string =>
  Number.isFinite(value) ? value.toFixed(digits) : NOT_MEASURED;
export const number = (value: number): string => fixed(value, value < 20 ? 1 : 0);
const ms = (value: number): string => fixed(value, 2);
export const ratioOf = (value: number, to: number | undefined): string =>
  to === undefined ? NOT_MEASURED : fixed(value / to, 2);

/** A table with aligned columns: the first `left` columns to the left, all others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], left = 1): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i < left ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join(" | ")
      .trimEnd();
  return [line(head), widths.map((width) => "-".repeat(width)).join("-|-"), ...rows.map(line)].join("\n");
}
