const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const count = (value: number | null): string => (value === null ? "–" : whole.format(value));

/** A rate with few digits. */
export function rate(value: number | null): string {
  if (value === null) return "–";
  if (value > 0 && value < 0.1) return "<0.1";
  return value < 10 ? one.format(value) : whole.format(value);
}

/** A duration in seconds, as milliseconds or seconds. */
export function latency(seconds: number | null): string {
  if (seconds === null) return "–";
  const ms = seconds * 1_000;
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${whole.format(ms)} ms` : `${one.format(seconds)} s`;
}

export function bytes(value: number | null): string {
  if (value === null) return "–";
  if (value < 1_024) return `${whole.format(value)} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let [amount, unit] = [value / 1_024, 0];
  while (amount >= 1_024 && unit < units.length - 1) {
    amount /= 1_024;
    unit++;
  }
  return `${amount < 10 ? one.format(amount) : whole.format(amount)} ${units[unit]}`;
}

/** A time span in seconds, with two units at most. */
export function span(seconds: number): string {
  const rounded = Math.max(0, Math.round(seconds));
  const units: readonly [string, number][] = [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
    ["s", 1],
  ];
  const first = units.findIndex(([, size]) => rounded >= size);
  if (first < 0) return "0 s";
  const [name, size] = units[first]!;
  const text = `${Math.floor(rounded / size)} ${name}`;
  const next = units[first + 1];
  const rest = next === undefined ? 0 : Math.floor((rounded % size) / next[1]);
  return rest > 0 && next !== undefined ? `${text} ${rest} ${next[0]}` : text;
}

export const plural = (value: number, noun: string): string =>
  `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
