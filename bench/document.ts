import {
  isMet,
  measuredText,
  PUT_HEAD,
  putRows,
  type Report,
  ratioOf,
  WORK_HEAD,
  workersText,
  workRows,
} from "./report.js";

/** Parts of docs/performance.md that a measurement writes, and the arguments of `npm run bench` that it had. */
const PARTS = {
  "last run": "",
  scale: " -- --scale",
  fleet: " -- --fleet",
} as const;
export type PartName = keyof typeof PARTS;

/** The text of docs/performance.md with `report` as its last run. Throws if the markers are missing. */
export const withLastRun = (text: string, report: Report): string =>
  withPart(text, "last run", lastRun(report));

/** The text of docs/performance.md with `content` as one of its parts. Throws if the markers are missing. */
export function withPart(text: string, name: PartName, content: string): string {
  const first = `<!-- ${name}: written by npm run bench${PARTS[name]} -->`;
  const last = `<!-- end of ${name} -->`;
  const [begin, end] = [text.indexOf(first), text.indexOf(last)];
  if (begin < 0 || end < begin)
    throw new Error(`docs/performance.md has no part between "${first}" and "${last}"`);
  return `${text.slice(0, begin + first.length)}\n\n${content}\n${text.slice(end)}`;
}

function lastRun(report: Report): string {
  const { machine, measuredAt, options, figures } = report;
  const lines = [
    `${whereAndWhen({ machine, measuredAt })}; ${options.rounds} rounds of ${options.slice} ms.`,
    "",
    "| target (three shards) | wanted | measured | |",
    "| --- | --- | --- | --- |",
    ...report.targets.map((target) => {
      const wanted = `${target.good} ${target.limit} ${target.unit}`.trimEnd();
      return `| ${target.what} | ${wanted} | ${measuredText(target)} | ${isMet(target) ? "met" : "**missed**"} |`;
    }),
    "",
    "| what | load | peer | per s | p50 ms | p99 ms | proxy CPU µs | etcd CPU µs | proxy CPU vs grpc-proxy |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ...figures.map((f) => {
      const peer = figures.find((o) => o.peer === "grpc-proxy" && o.kind === f.kind && o.load === f.load);
      const cells = [
        f.kind,
        f.load,
        f.peer,
        digits(f.perSecond),
        f.p50Ms.toFixed(2),
        f.p99Ms.toFixed(2),
        f.peer === "direct" ? "" : digits(f.cpu.proxy),
        digits(f.cpu.etcd),
        f.peer === "direct" || f.peer === "grpc-proxy" ? "" : ratioOf(f.cpu.proxy, peer?.cpu.proxy),
      ];
      return `| ${cells.join(" | ")} |`;
    }),
    "",
  ];
  lines.push(...markdown(WORK_HEAD, workRows(figures)));
  lines.push(...markdown(PUT_HEAD, putRows(figures)));
  if (report.twoWorkers !== undefined) lines.push(workersText(report.twoWorkers), "");
  return lines.join("\n");
}

/** The day and the machine of a measurement. */
export const whereAndWhen = ({ machine, measuredAt }: Pick<Report, "machine" | "measuredAt">): string =>
  `${measuredAt.slice(0, 10)}, ${machine.cores} cores (${machine.model}), ${machine.memoryGiB} GiB, ` +
  `fsync ${machine.fsyncMs.toFixed(2)} ms; etcd ${machine.etcd}, Node.js ${machine.node}`;

/** Lines of a table and a final empty line; nothing without rows. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [];
  const all = [head, head.map(() => "---"), ...rows];
  return [...all.map((cells) => `| ${cells.join(" | ")} |`), ""];
}

const digits = (value: number): string =>
  Number.isFinite(value) ? value.toFixed(value < 20 ? 1 : 0) : "not measured";
