export interface Defaults {
  readonly seconds: number;
  readonly seeds: number;
}

/** Calls `test` for each seed. `SEED`, `SEEDS` and `SECONDS` in the environment replace the defaults. */
export function eachSeed(defaults: Defaults, test: (seed: number, seconds: number) => void): void {
  const seconds = Number(process.env.SECONDS ?? defaults.seconds);
  const count = process.env.SEED === undefined ? Number(process.env.SEEDS ?? defaults.seeds) : 1;
  const first = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  for (let i = 0; i < count; i++) test(first + i, seconds);
}
