import type { VNode } from "preact";

/** A chart shows this time at most, in milliseconds. */
export const CHART_MS = 15 * 60_000;
/** With less history it shows less, but not less than this. */
const LEAST_MS = 60_000;
const WIDTH = 300;
const HEIGHT = 44;
/** Samples that are further apart are not connected, in milliseconds. */
const GAP_MS = 25_000;

type Values = readonly (number | null)[];

/** A line of the last minutes, and a second one if there is one. The largest value is at the top. */
export function Chart({
  label,
  at,
  values,
  second,
  format,
}: {
  label: string;
  at: readonly number[];
  values: Values;
  second?: Values;
  format: (value: number | null) => string;
}): VNode {
  const end = at.at(-1) ?? Date.now();
  const most = [...values, ...(second ?? [])].reduce<number>((top, value) => Math.max(top, value ?? 0), 0);
  const top = most > 0 ? most * 1.35 : 1;
  const shownMs = Math.min(CHART_MS, Math.max(LEAST_MS, end - (at[0] ?? end)));
  const x = (time: number) => ((time - (end - shownMs)) / shownMs) * WIDTH;
  const y = (value: number) => HEIGHT - 1 - (value / top) * (HEIGHT - 3);
  const line = lineOf(at, values, x, y);
  const last = values.at(-1) ?? null;
  const minutes = Math.round(shownMs / 60_000);
  const text = `${label}, the last ${minutes === 1 ? "minute" : `${minutes} minutes`}: now ${format(last)}, highest ${format(most)}`;
  return (
    <div class="chart">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={text}>
        <path class="area" d={areaOf(at, values, x, y)} />
        <path class="floor" d={`M0 ${HEIGHT - 1}H${WIDTH}`} />
        <path d={line} />
        {second && <path class="second" d={lineOf(at, second, x, y)} />}
      </svg>
      <span class="top" aria-hidden="true">
        {most > 0 ? format(most) : ""}
      </span>
    </div>
  );
}

type Scale = (value: number) => number;

/** The runs of samples without a gap. */
function runsOf(at: readonly number[], values: Values): [time: number, value: number][][] {
  const runs: [number, number][][] = [];
  let before = Number.NEGATIVE_INFINITY;
  values.forEach((value, i) => {
    const time = at[i];
    if (time === undefined || value === null) return;
    if (time - before > GAP_MS) runs.push([]);
    runs.at(-1)?.push([time, value]);
    before = time;
  });
  return runs;
}

const pointsOf = (run: readonly (readonly [number, number])[], x: Scale, y: Scale): string =>
  run.map(([time, value]) => `${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("L");

const lineOf = (at: readonly number[], values: Values, x: Scale, y: Scale): string =>
  runsOf(at, values)
    .map((run) => `M${pointsOf(run, x, y)}`)
    .join("");

const areaOf = (at: readonly number[], values: Values, x: Scale, y: Scale): string =>
  runsOf(at, values)
    .filter((run) => run.length > 1)
    .map((run) => `M${pointsOf(run, x, y)}V${HEIGHT - 1}H${x(run[0]![0]).toFixed(1)}Z`)
    .join("");
