import type { RoutingRule, ShardEntry } from "../../src/routing/map.js";

/** Converts text to bytes, one byte per character (so "\xff" is one byte). */
export function bytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "latin1"));
}

/** Converts bytes to text, the inverse of `bytes`. */
export function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

export function shards(...names: string[]): ShardEntry[] {
  return names.map((name) => ({ name, weight: 1 }));
}

export function rule(prefix: string, segments = 1, shard?: string, delimiter = "/"): RoutingRule {
  return { prefix: bytes(prefix), segments, shard, delimiter: delimiter.charCodeAt(0) };
}

/** The run's seed, from the environment or random. */
export const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

/** A small deterministic random generator (mulberry32). */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  /** Returns an integer in [0, bound). */
  below(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  pick<T>(items: ArrayLike<T>): T {
    return items[this.below(items.length)];
  }

  /** Returns text of up to `length` characters of `alphabet`. */
  text(alphabet: string, length: number): string {
    return Array.from({ length: this.below(length + 1) }, () => this.pick(alphabet)).join("");
  }
}
