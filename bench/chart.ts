import type { PeerName } from "./peers.js";
import type { Report } from "./report.js";
import type { Figures } from "./run.js";
import type { WorkloadKind } from "./workloads.js";

const COLOURS: Readonly<Record<PeerName, string>> = {
  direct: "#9aa0a6",
  "pass-through": "#c3c7cb",
  "grpc-proxy": "#e39b34",
  "braid-1": "#86b6e8",
  "braid-3": "#1f5fae",
  "workers-1": "#86b6e8",
  "workers-2": "#1f5fae",
};

const NAMES: Readonly<Record<PeerName, string>> = {
  direct: "etcd, directly",
  "pass-through": "etcd behind a pass-through",
  "grpc-proxy": "etcd grpc-proxy",
  "braid-1": "etcd-braid, one shard",
  "braid-3": "etcd-braid, three shards",
  "workers-1": "one worker",
  "workers-2": "two workers",
};

/** A small bar chart: one measure of one kind of work, with a group of bars for each load. */
interface Panel {
  readonly title: string;
  readonly kind: WorkloadKind;
  readonly value: (figures: Figures) => number;
  readonly peers: readonly PeerName[];
}

const proxyCpu = ({ cpu }: Figures): number => cpu.proxy;
const PROXIES = ["grpc-proxy", "braid-1", "braid-3"] as const;
const ALL = ["direct", ...PROXIES] as const;

const PANELS: readonly Panel[] = [
  { title: "Put: proxy CPU, µs", kind: "put", value: proxyCpu, peers: PROXIES },
  { title: "Range: proxy CPU, µs", kind: "range", value: proxyCpu, peers: PROXIES },
  { title: "Put: per second", kind: "put", value: ({ perSecond }) => perSecond, peers: ALL },
  { title: "Range: per second", kind: "range", value: ({ perSecond }) => perSecond, peers: ALL },
  { title: "Watch: proxy CPU per event, µs", kind: "watch", value: proxyCpu, peers: PROXIES },
  {
    title: "Range of 1,000 keys: proxy and etcd CPU, µs",
    kind: "scan",
    value: ({ cpu }) => cpu.proxy + cpu.etcd,
    peers: ALL,
  },
  {
    title: "JSON ranges per second, one and two workers",
    kind: "workers",
    value: ({ perSecond }) => perSecond,
    peers: ["workers-1", "workers-2"],
  },
];

const WIDTH = 960;
const MARGIN = 24;
const GAP = 40;
const HEAD = 84;
const LABELS = 96;
const NUMBERS = 70;
const BAR = 13;
const GROUP_GAP = 10;
const TITLE = 30;
const COLUMN = (WIDTH - 2 * MARGIN - GAP) / 2;

/** The report as a chart: the cost of each peer. */
export function chart(report: Report): string {
  const { machine, measuredAt } = report;
  const parts: string[] = [];
  let y = HEAD;
  const panels = PANELS.filter(({ kind }) => report.figures.some((each) => each.kind === kind));
  for (let i = 0; i < panels.length; i += 2) {
    const row = panels
      .slice(i, i + 2)
      .map((panel, column) => draw(panel, report.figures, MARGIN + column * (COLUMN + GAP), y));
    parts.push(...row.map(({ svg }) => svg));
    y += Math.max(...row.map(({ height }) => height)) + 16;
  }
  const text =
    `${measuredAt.slice(0, 10)}: ${machine.cores} cores (${machine.model}), etcd ${machine.etcd}, ` +
    `Node.js ${machine.node}; medians of interleaved rounds`;
  const legend = ALL.map(
    (peer, i) =>
      `<rect x="${MARGIN + i * 200}" y="54" width="12" height="12" fill="${COLOURS[peer]}"/>` +
      `<text x="${MARGIN + i * 200 + 18}" y="64">${xml(NAMES[peer])}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" ` +
      `font-family="system-ui, sans-serif" font-size="12" fill="#202124">`,
    "<title>What each way to an etcd costs</title>",
    `<rect width="${WIDTH}" height="${y}" fill="#ffffff"/>`,
    `<text x="${MARGIN}" y="26" font-size="17" font-weight="600">What each way to an etcd costs</text>`,
    `<text x="${MARGIN}" y="44" fill="#5f6368">${xml(text)}</text>`,
    ...legend,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function draw(
  panel: Panel,
  all: readonly Figures[],
  x: number,
  top: number,
): { svg: string; height: number } {
  const figures = all.filter(
    (each) =>
      each.kind === panel.kind && panel.peers.includes(each.peer) && Number.isFinite(panel.value(each)),
  );
  const loads = [...new Set(figures.map(({ load }) => load))];
  const largest = Math.max(1e-9, ...figures.map(panel.value));
  const scale = (COLUMN - LABELS - NUMBERS) / largest;
  const lines = [
    `<text x="${x}" y="${top + 14}" font-size="14" font-weight="600">${xml(panel.title)}</text>`,
  ];
  let y = top + TITLE;
  for (const load of loads) {
    const group = figures.filter((each) => each.load === load);
    const middle = y + (group.length * BAR) / 2 + 4;
    lines.push(`<text x="${x + LABELS - 10}" y="${middle}" text-anchor="end">${xml(load)}</text>`);
    for (const each of group) {
      const value = panel.value(each);
      const width = Math.max(1, value * scale);
      lines.push(
        `<rect x="${x + LABELS}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 2}" fill="${COLOURS[each.peer]}"/>`,
        `<text x="${(x + LABELS + width + 5).toFixed(1)}" y="${y + 9.5}" font-size="11">${shown(value)}</text>`,
      );
      y += BAR;
    }
    y += GROUP_GAP;
  }
  return { svg: lines.join("\n"), height: y - top };
}

function shown(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(value < 10 ? 1 : 0);
}

export function xml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
}
