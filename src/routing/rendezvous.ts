import type { Hasher } from "./hash.js";
import type { ShardEntry } from "./map.js";
import { negativeLog } from "./negativeLog.js";

interface Candidate {
  readonly shard: number;
  /** xxh64 of the shard's name. */
  readonly high: number;
  readonly low: number;
}

interface WeightClass {
  readonly weight: number;
  readonly candidates: readonly Candidate[];
}

/**
 * Weighted rendezvous hashing (highest random weight) over shard names.
 *
 * Each shard draws a number u in (0, 1) from the hash of the key and the hash of its name. The smallest -ln(u) /
 * weight wins. So each shard's share is its weight over the sum of weights. A new shard takes its share evenly
 * from all others and moves nothing between them. The order of the shards does not matter.
 *
 * The result must never change, on any machine. Draws are integers, and shards of equal weight are compared by
 * their draws alone. Only the winners of different weights are compared by -ln(u) / weight, with a logarithm made
 * of + - * /: ECMAScript specifies these to the bit, but not `Math.log`.
 */
export class Rendezvous {
  private readonly classes: readonly WeightClass[];

  constructor(shards: readonly ShardEntry[], hasher: Hasher) {
    const utf8 = new TextEncoder();
    const classes = new Map<number, Candidate[]>();
    const byName = shards.map((entry, shard) => ({ ...entry, shard }));
    // Equal draws go to the smaller name, in any configured order.
    byName.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const { name, weight, shard } of byName) {
      hasher.update(utf8.encode(name));
      const candidate = { shard, high: hasher.high, low: hasher.low };
      const members = classes.get(weight);
      if (members) members.push(candidate);
      else classes.set(weight, [candidate]);
    }
    this.classes = [...classes]
      .map(([weight, candidates]) => ({ weight, candidates }))
      .sort((a, b) => a.weight - b.weight);
  }

  /** Returns the shard that wins a group whose xxh64 has these halves. */
  pick(high: number, low: number): number {
    const single = this.classes.length === 1;
    let winner = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const { weight, candidates } of this.classes) {
      let best = -1;
      let most = -1;
      for (const candidate of candidates) {
        const drawn = draw(high ^ candidate.high, low ^ candidate.low);
        if (drawn > most) {
          most = drawn;
          best = candidate.shard;
        }
      }
      if (single) return best;
      const cost = negativeLog(most) / weight;
      if (cost < least) {
        least = cost;
        winner = best;
      }
    }
    return winner;
  }
}

/** Mixes two int32 into an integer in [0, 2^52), by crossed rounds of murmur3's 32-bit finalizer. */
function draw(high: number, low: number): number {
  const a = finalize(high + Math.imul(low, 0x9e3779b1));
  const b = finalize(low + Math.imul(a, 0x85ebca77));
  const c = finalize(a ^ Math.imul(b, 0xc2b2ae3d));
  return (c >>> 0) * 0x100000 + (b >>> 12);
}

function finalize(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
