import { xml } from "../chart.js";
import { like, type ScaleReport } from "./report.js";
import type { ScaleFigures } from "./run.js";

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 64;
const RIGHT = 24;
const TOP = 92;
const BOTTOM = 56;
const COLOURS = ["#1f5fae", "#86b6e8", "#e39b34", "#5aa469"];

/** A chart of how puts per second grow with the shards, compared with one shard: a line for each number of writers. */
export function scaleChart(report: ScaleReport): string {
  const { machine, measuredAt, options, figures } = report;
  const valueBytes = Math.min(...options.valueBytes);
  const plain = figures.filter((f) => f.shards > 0 && f.valueBytes === valueBytes && f.watchers === 0);
  const shards = [...new Set(plain.map((f) => f.shards))].sort((a, b) => a - b);
  const most = Math.max(1, ...shards);
  const growth = (f: ScaleFigures): number =>
    f.putsPerSecond / (like(figures, f, shards[0])?.putsPerSecond ?? Number.NaN);
  // Both axes are logarithmic: twice the shards is one step to the right, twice the puts one step up.
  const x = (count: number): number =>
    LEFT + ((WIDTH - LEFT - RIGHT) * Math.log2(count)) / Math.max(1, Math.log2(most));
  const y = (factor: number): number =>
    HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * Math.log2(factor)) / Math.max(1, Math.log2(most));
  const lines: string[] = [];
  for (const count of shards) {
    lines.push(
      `<line x1="${x(count).toFixed(1)}" y1="${TOP}" x2="${x(count).toFixed(1)}" y2="${HEIGHT - BOTTOM}" stroke="#e8eaed"/>`,
      `<text x="${x(count).toFixed(1)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${count}</text>`,
      `<line x1="${LEFT}" y1="${y(count).toFixed(1)}" x2="${WIDTH - RIGHT}" y2="${y(count).toFixed(1)}" stroke="#e8eaed"/>`,
      `<text x="${LEFT - 8}" y="${(y(count) + 4).toFixed(1)}" text-anchor="end">${count} x</text>`,
    );
  }
  lines.push(
    `<line x1="${x(1)}" y1="${y(1)}" x2="${x(most)}" y2="${y(most)}" stroke="#9aa0a6" stroke-dasharray="4 4"/>`,
  );
  const series = [...new Set(plain.map(({ writers }) => writers))].map((writers) => {
    const points = shards.flatMap((count) => {
      const best = plain
        .filter((f) => f.shards === count && f.writers === writers)
        .sort((a, b) => b.putsPerSecond - a.putsPerSecond)[0];
      return best !== undefined && growth(best) > 0 ? [best] : [];
    });
    return { writers, points };
  });
  series.forEach(({ points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const at = points.map((f) => [x(f.shards), y(growth(f))] as const);
    lines.push(
      `<polyline points="${at.map((point) => point.map((n) => n.toFixed(1)).join(",")).join(" ")}" fill="none" ` +
        `stroke="${colour}" stroke-width="2"/>`,
      ...at.map(
        ([px, py]) => `<circle cx="${px.toFixed(1)}" cy="${py.toFixed(1)}" r="3.5" fill="${colour}"/>`,
      ),
    );
  });
  const legend = [
    ...series.map(({ writers, points }, i) => {
      const last = points.at(-1);
      const rate =
        last === undefined ? "" : `: ${Math.round(last.putsPerSecond).toLocaleString("en-US")} per second`;
      return entry(i, COLOURS[i % COLOURS.length], `${writers} writers${rate}`);
    }),
    entry(series.length, "#9aa0a6", "in proportion"),
  ];
  const text =
    `${measuredAt.slice(0, 10)}: ${machine.cores} cores (${machine.model}), each etcd held to ${options.share} % of a core; ` +
    `etcd ${machine.etcd}; values of ${valueBytes} bytes`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
      `font-family="system-ui, sans-serif" font-size="12" fill="#202124">`,
    "<title>Puts per second by number of shards</title>",
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="24" y="26" font-size="17" font-weight="600">Puts per second, compared with one shard</text>`,
    `<text x="24" y="46" fill="#5f6368">${xml(text)}</text>`,
    ...legend,
    ...lines,
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 14}" text-anchor="middle" fill="#5f6368">shards</text>`,
    "</svg>",
    "",
  ].join("\n");
}

const entry = (i: number, colour: string, text: string): string =>
  `<rect x="${24 + i * 240}" y="60" width="12" height="12" fill="${colour}"/>` +
  `<text x="${42 + i * 240}" y="70">${xml(text)}</text>`;
