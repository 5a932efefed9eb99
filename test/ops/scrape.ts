export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The result of one GET of a metrics page. */
export class Scrape {
  readonly series: readonly Series[];
  /** The type of each metric. */
  readonly types = new Map<string, string>();
  /** Metrics with a help text. */
  readonly help = new Set<string>();

  constructor(text: string) {
    const series: Series[] = [];
    for (const line of text.split("\n")) {
      const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
      if (comment?.[1] === "TYPE") this.types.set(comment[2]!, comment[3]!);
      else if (comment?.[1] === "HELP") this.help.add(comment[2]!);
      const sample = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (sample === null) continue;
      const labels = [...(sample[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
      series.push({
        name: sample[1]!,
        labels: Object.fromEntries(labels.map(([, name, value]) => [name!, value!])),
        value: Number(sample[3]),
      });
    }
    this.series = series;
  }

  static async of(url: string): Promise<Scrape> {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
    return new Scrape(await response.text());
  }

  /** Returns the series of a metric that have all these labels. */
  of(name: string, labels: Readonly<Record<string, string>>): Series[] {
    return this.series.filter(
      (each) =>
        each.name === name && Object.entries(labels).every(([label, value]) => each.labels[label] === value),
    );
  }

  /** Returns the sum of these series, 0 if there are none. */
  sum(name: string, labels: Readonly<Record<string, string>>): number {
    return this.of(name, labels).reduce((sum, { value }) => sum + value, 0);
  }
}
