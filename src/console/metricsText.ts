/** The labels of a series with its value. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads Prometheus' text format: series by name, only those whose name `wants` accepts. Ignores what it does not understand. */
export function readMetrics(text: string, wants: (name: string) => boolean): Map<string, Series[]> {
  const found = new Map<string, Series[]>();
  for (const line of text.split("\n")) {
    const nameEnd = line.search(/[{ ]/);
    if (nameEnd <= 0 || line.startsWith("#")) continue;
    const name = line.slice(0, nameEnd);
    if (!wants(name)) continue;
    const sample = /^(?:\{(.*)\})? (\S+)/.exec(line.slice(nameEnd));
    if (sample === null) continue;
    const series = found.get(name) ?? [];
    if (series.length === 0) found.set(name, series);
    series.push({ labels: readLabels(sample[1] ?? ""), value: Number(sample[2]) });
  }
  return found;
}

const ESCAPES: Readonly<Record<string, string>> = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

function readLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, name, value] of text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
    labels[name ?? ""] = (value ?? "").replace(/\\[n"\\]/g, (found) => ESCAPES[found] ?? found);
  }
  return labels;
}
