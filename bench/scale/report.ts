import { markdown, whereAndWhen } from "../document.js";
import type { Machine } from "../machine.js";
import { isMet, number, ratioOf, table } from "../report.js";
import type { Target } from "../targets.js";
import type { ScaleOptions } from "./options.js";
import { partOf, type ScaleFigures } from "./run.js";

export interface ScaleReport {
  readonly measuredAt: string;
  readonly machine: Machine;
  readonly options: ScaleOptions;
  readonly figures: readonly ScaleFigures[];
  readonly targets: readonly Target[];
}

export function createScaleReport(
  machine: Machine,
  options: ScaleOptions,
  figures: readonly ScaleFigures[],
): ScaleReport {
  return { measuredAt: new Date().toISOString(), machine, options, figures, targets: targets(figures) };
}

/** Puts per second of the store, divided by those of one shard, with values of 256 bytes. */
function targets(figures: readonly ScaleFigures[]): Target[] {
  return [
    { writers: 256, shards: 8, limit: 7 },
    { writers: 1024, shards: 16, limit: 14 },
  ].flatMap(({ writers, shards, limit }) => {
    const ratios = figures
      .filter((f) => f.shards === shards && f.writers === writers && f.valueBytes === 256 && f.watchers === 0)
      .map((f) => f.putsPerSecond / (like(figures, f, 1)?.putsPerSecond ?? Number.NaN))
      .filter(Number.isFinite);
    const what = `puts per second of ${shards} shards, ${writers} writers, against one`;
    if (ratios.length === 0) return [];
    return [{ what, limit, unit: "", good: "at least" as const, measured: Math.max(...ratios) }];
  });
}

/** The figures of the same load on another number of shards. With one process of the proxy, or without a proxy. */
export function like(
  figures: readonly ScaleFigures[],
  { writers, valueBytes, watchers }: ScaleFigures,
  shards: number,
): ScaleFigures | undefined {
  return figures.find(
    (f) =>
      f.shards === shards && f.writers === writers && f.valueBytes === valueBytes && f.watchers === watchers,
  );
}

export const SCALE_HEAD: readonly string[] = [
  "writers",
  "value",
  "store",
  "puts/s",
  "vs 1 shard",
  "vs etcd",
  "vs etcds",
  "p50 ms",
  "p99 ms",
  "KiB/s",
  "events/s",
  "vs 1 shard",
  "shards %",
  "host %",
  "appends/s",
  "append ms",
  "proxy %",
];

/** Rows of a table. Shares of the host are of what it may use, those of the proxy are of a core: that of its busiest process. */
export function scaleRows({ figures, options }: Pick<ScaleReport, "figures" | "options">): string[][] {
  const ordered = figures
    .filter((f) => options.writers.includes(f.writers))
    .sort((a, b) => a.watchers - b.watchers || a.writers - b.writers || a.valueBytes - b.valueBytes);
  return ordered.map((f) => {
    const [one, direct] = [like(figures, f, 1), like(figures, f, 0)];
    const alone = like(figures, { ...f, writers: partOf(f.writers, f.shards || 1) }, 0);
    const withProxy = (text: string): string => (f.shards === 0 ? "" : text);
    const watched = (text: string): string => (f.watchers === 0 ? "" : text);
    return [
      f.watchers === 0 ? `${f.writers}` : `${f.writers}, ${f.watchers} watchers`,
      `${f.valueBytes}`,
      storeName(f),
      number(f.putsPerSecond),
      withProxy(ratioOf(f.putsPerSecond, one?.putsPerSecond)),
      withProxy(ratioOf(f.putsPerSecond, direct?.putsPerSecond)),
      withProxy(ratioOf(f.putsPerSecond, alone === undefined ? undefined : alone.putsPerSecond * f.shards)),
      number(f.p50Ms),
      number(f.p99Ms),
      number(f.bytesPerSecond / 1024),
      watched(number(f.eventsPerSecond)),
      watched(withProxy(ratioOf(f.eventsPerSecond, one?.eventsPerSecond))),
      percent(f.cpu.shards / Math.max(1, f.shards) / (options.share / 100)),
      withProxy(percent(f.cpu.host / (options.share / 100))),
      withProxy(number(f.appendsPerSecond)),
      withProxy(number(f.appendMs)),
      withProxy(percent(f.cpu.proxy)),
    ];
  });
}

const percent = (share: number): string => (share * 100).toFixed(0);

export function storeName({ shards, workers }: Pick<ScaleFigures, "shards" | "workers">): string {
  if (shards === 0) return "one etcd";
  const name = shards === 1 ? "1 shard" : `${shards} shards`;
  return workers > 1 ? `${name}, ${workers} workers` : name;
}

/** The report as a part of docs/performance.md. */
export function scaleDocument(report: ScaleReport): string {
  const { options, targets } = report;
  return [
    `${whereAndWhen(report)}; each etcd held to ${options.share} % of a core; ${options.rounds} slices of ${options.slice} ms.`,
    "",
    ...markdown(
      ["target", "wanted", "measured", ""],
      targets.map((target) => [
        target.what,
        `at least ${target.limit}`,
        target.measured.toFixed(2),
        isMet(target) ? "met" : "**missed**",
      ]),
    ),
    ...markdown(SCALE_HEAD, scaleRows(report)),
  ].join("\n");
}

/** The report as text for a terminal. */
export function renderScale(report: ScaleReport): string {
  const { machine, options } = report;
  const parts = [
    `${machine.cores} cores (${machine.model}), ${machine.memoryGiB} GiB, Linux ${machine.kernel}; ` +
      `fsync ${machine.fsyncMs.toFixed(2)} ms`,
    `etcd ${machine.etcd}, Node.js ${machine.node}, etcd-braid ${machine.braid}; each etcd held to ${options.share} % of a core; ` +
      `medians of ${options.rounds} slices of ${options.slice} ms`,
    "",
    table(SCALE_HEAD, scaleRows(report), 3),
    "",
    "vs etcds: as many etcds without a proxy, each with its part of the writers. KiB/s: keys and values stored. shards %, host %: CPU time of the shards and of the timeline host, of what they may use. proxy %: of a core, by the busiest " +
      "process of the proxy.",
  ];
  if (report.targets.length > 0) {
    const rows = report.targets.map((target) => [
      target.what,
      `at least ${target.limit}`,
      target.measured.toFixed(2),
      isMet(target) ? "met" : "missed",
    ]);
    parts.push("", table(["target", "wanted", "measured", ""], rows, 2));
  }
  for (const f of report.figures.filter(({ errors }) => errors > 0))
    parts.push(`${storeName(f)}, ${f.writers} writers: ${f.errors} requests failed`);
  return `${parts.join("\n")}\n`;
}
