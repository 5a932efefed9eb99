import { compareBytes } from "../routing/bytes.js";
import { type Explain, type Explanation, routerWith } from "../routing/create.js";
import type { Hasher } from "../routing/hash.js";
import { rulesInForce, type ShardMap } from "../routing/map.js";
import type { Router } from "../routing/router.js";
import { type Bound, compareBounds, START } from "./bound.js";
import { Boundaries } from "./boundaries.js";

/** A shard map, and the cluster behind each of its shards. Clusters have numbers that two maps share. */
export interface PlacedMap {
  readonly map: ShardMap;
  /** Number of each shard's cluster, in the order of the map's shards. */
  readonly clusters: readonly number[];
}

/** The keys that move from one cluster to another. */
export interface Movement {
  readonly from: number;
  readonly to: number;
  readonly keys: number;
  /** Groups by the rules of the new map. */
  readonly groups: number;
  /** Some of the keys, evenly spaced. */
  readonly sample: readonly Uint8Array[];
}

/** Keys that the old map keeps together, but not the new one. */
export interface Split {
  /** The group, or the pinned prefix. */
  readonly name: Uint8Array;
  readonly isPinned: boolean;
  readonly keys: number;
  /** Number of groups and pinned prefixes of the new map that these keys form. */
  readonly parts: number;
  /** Number of clusters on which these keys will be. */
  readonly clusters: number;
}

/** Keys on a cluster on which the old map does not place them. */
export interface Misplaced {
  readonly keys: number;
  /** The first of them. */
  readonly example: Uint8Array;
}

/** What a change from one map to another does to the keys of a store. */
export interface Difference {
  readonly keys: number;
  /** Cluster → keys that it holds before the change. */
  readonly before: ReadonlyMap<number, number>;
  /** Cluster → keys that it holds after the change. */
  readonly after: ReadonlyMap<number, number>;
  readonly movements: readonly Movement[];
  /** About how many steps the keys take. A step splits no group of either map. */
  readonly steps: number;
  /** Keys of the largest step. */
  readonly largestStep: number;
  /** Those with the most keys first. */
  readonly splits: readonly Split[];
  /** By cluster. They count in `before`, and as if they stayed where they are. */
  readonly misplaced: ReadonlyMap<number, Misplaced>;
}

/** Most keys that move in one step, unless a group has more. Large values make steps smaller. */
const STEP_KEYS = 10_000;
/** A sample is thinned out when it has more keys than this. */
const MAX_SAMPLE = 256;

/** Compares where two maps place the keys of a store. */
export class MapComparison {
  private readonly from: Placer;
  private readonly to: Placer;
  private readonly before = new Map<number, number>();
  private readonly after = new Map<number, number>();
  private readonly movements = new Map<string, MutableMovement>();
  private readonly misplaced = new Map<number, { keys: number; example: Uint8Array }>();
  /** Undefined if no group can be split. */
  private readonly units: Map<string, Unit> | undefined;
  private readonly steps: StepCount;
  private keys = 0;

  constructor(from: PlacedMap, to: PlacedMap, hasher: Hasher, stepKeys = STEP_KEYS) {
    this.from = new Placer(from, hasher);
    this.to = new Placer(to, hasher);
    this.steps = new StepCount(new Boundaries([from.map, to.map]), stepKeys);
    // With one shard before, every transaction is allowed, and with one shard after, none is lost.
    const canSplit =
      from.map.shards.length > 1 && to.map.shards.length > 1 && !haveSameRules(from.map, to.map);
    this.units = canSplit ? new Map() : undefined;
  }

  /** Adds a key, which is on `cluster`. Call this for all keys of the store, in ascending order. */
  add(key: Uint8Array, cluster: number): void {
    this.keys++;
    increment(this.before, cluster);
    if (this.from.clusterOf(key) !== cluster) {
      increment(this.after, cluster);
      const known = this.misplaced.get(cluster);
      if (known !== undefined) known.keys++;
      else this.misplaced.set(cluster, { keys: 1, example: key.slice() });
      return;
    }
    const destination = this.to.clusterOf(key);
    increment(this.after, destination);
    if (destination !== cluster) {
      this.addMovement(key, cluster, destination);
      this.steps.add(key);
    }
    if (this.units !== undefined) this.addToUnit(this.units, key, destination);
  }

  result(): Difference {
    const splits = [...(this.units?.values() ?? [])].flatMap(splitOf);
    return {
      keys: this.keys,
      before: this.before,
      after: this.after,
      movements: [...this.movements.values()]
        .map(({ groups, ...rest }) => ({ ...rest, groups: groups.size }))
        .sort((a, b) => a.from - b.from || a.to - b.to),
      ...this.steps.result(),
      splits: splits.sort((a, b) => b.keys - a.keys || compareBytes(a.name, b.name)),
      misplaced: this.misplaced,
    };
  }

  private addMovement(key: Uint8Array, from: number, to: number): void {
    const id = `${from} ${to}`;
    let movement = this.movements.get(id);
    if (movement === undefined) {
      movement = { from, to, keys: 0, groups: new Set(), sample: [], stride: 1 };
      this.movements.set(id, movement);
    }
    movement.groups.add(text(this.to.router.explain(key).group));
    if (movement.keys % movement.stride === 0) {
      // A copy, because the key may be part of a large response.
      movement.sample.push(key.slice());
      if (movement.sample.length > MAX_SAMPLE) {
        movement.sample = movement.sample.filter((_, index) => index % 2 === 0);
        movement.stride *= 2;
      }
    }
    movement.keys++;
  }

  private addToUnit(units: Map<string, Unit>, key: Uint8Array, destination: number): void {
    const explanation = this.from.router.explain(key);
    const id = unitOf(explanation);
    const part = unitOf(this.to.router.explain(key));
    let unit = units.get(id);
    if (unit === undefined) {
      const { rule, group } = explanation;
      const isPinned = rule.shard !== undefined;
      // A copy, because the group may be part of a large response.
      const name = isPinned ? rule.prefix : group.slice();
      unit = { name, isPinned, keys: 0, part, destination, parts: undefined, clusters: undefined };
      units.set(id, unit);
    }
    unit.keys++;
    if (unit.parts === undefined && unit.part !== part) {
      unit.parts = new Set([unit.part]);
      unit.clusters = new Set([unit.destination]);
    }
    unit.parts?.add(part);
    unit.clusters?.add(destination);
  }
}

/** Counts the steps of a sweep that goes up. */
class StepCount {
  private count = 0;
  private largest = 0;
  /** The lowest bound of the current step. */
  private start: Bound = START;
  /** Its keys so far, unless it has an end. */
  private keys: Uint8Array[] = [];
  /** The end of a step with a large group, and its number of keys so far. */
  private end: Bound | undefined;
  private size = 0;

  constructor(
    private readonly boundaries: Boundaries,
    private readonly stepKeys: number,
  ) {}

  /** Adds a key that moves. */
  add(key: Uint8Array): void {
    if (this.end !== undefined) {
      if (compareBounds(key, this.end) < 0) {
        this.size++;
        return;
      }
      this.finish(this.size, this.end);
      this.end = undefined;
    }
    while (this.keys.length === this.stepKeys) {
      const below = this.boundaries.below(key);
      if (compareBounds(below, this.start) <= 0) {
        // A group that is larger than a step moves in one.
        this.end = this.boundaries.above(key);
        this.size = this.keys.length + 1;
        this.keys = [];
        return;
      }
      const first = this.keys.findIndex((each) => compareBounds(below, each) <= 0);
      const fitting = first < 0 ? this.keys.length : first;
      if (fitting > 0) this.finish(fitting, below);
      this.start = below;
      this.keys = this.keys.slice(fitting);
    }
    this.keys.push(key);
  }

  result(): Pick<Difference, "steps" | "largestStep"> {
    const last = this.end === undefined ? this.keys.length : this.size;
    return {
      steps: this.count + (last > 0 ? 1 : 0),
      largestStep: Math.max(this.largest, last),
    };
  }

  private finish(size: number, end: Bound): void {
    this.count++;
    this.largest = Math.max(this.largest, size);
    this.start = end;
  }
}

interface MutableMovement {
  readonly from: number;
  readonly to: number;
  keys: number;
  readonly groups: Set<string>;
  sample: Uint8Array[];
  /** The sample has every key of that number. */
  stride: number;
}

/** Keys that the old map keeps together: a group, or all keys with a pinned prefix. */
interface Unit {
  readonly name: Uint8Array;
  readonly isPinned: boolean;
  keys: number;
  /** The first key's group or pinned prefix in the new map, and its cluster. */
  readonly part: string;
  readonly destination: number;
  /** All of them, once there are several parts. */
  parts: Set<string> | undefined;
  clusters: Set<number> | undefined;
}

/** Finds the cluster of a key. */
class Placer {
  readonly router: Router & Explain;
  private readonly clusters: readonly number[];

  constructor({ map, clusters }: PlacedMap, hasher: Hasher) {
    this.router = routerWith(map, hasher);
    this.clusters = clusters;
  }

  clusterOf(key: Uint8Array): number {
    const cluster = this.clusters[this.router.shardOf(key)];
    if (cluster === undefined) throw new RangeError("a shard of the map has no cluster");
    return cluster;
  }
}

function unitOf({ rule, group }: Explanation): string {
  return rule.shard === undefined ? `group ${text(group)}` : `pin ${text(rule.prefix)}`;
}

function splitOf({ name, isPinned, keys, parts, clusters }: Unit): Split[] {
  if (parts === undefined || clusters === undefined) return [];
  return [{ name, isPinned, keys, parts: parts.size, clusters: clusters.size }];
}

/** True if two maps form the same groups, with the same pins. */
function haveSameRules(a: ShardMap, b: ShardMap): boolean {
  const comparable = (map: ShardMap) =>
    rulesInForce(map).map(({ prefix, delimiter, segments, shard }) => [
      text(prefix),
      delimiter,
      segments,
      shard ?? null,
    ]);
  return JSON.stringify(comparable(a)) === JSON.stringify(comparable(b));
}

const text = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");

function increment(counts: Map<number, number>, of: number): void {
  counts.set(of, (counts.get(of) ?? 0) + 1);
}
