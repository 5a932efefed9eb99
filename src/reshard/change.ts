import type { Bound } from "./bound.js";
import { decodePairs, encodePairs } from "./numbers.js";
import type { Offsets } from "./offsets.js";
import type { Twins } from "./twins.js";

/** A shard that a plan needs. */
export interface PlanShard {
  /** Its index in the store: a new one, or the one that the cluster had when it belonged to the store before. */
  readonly index: number;
  readonly name: string;
  readonly endpoints: readonly string[];
  /** The etcd cluster's id, decimal. */
  readonly clusterId: string;
  /** Shard revision at which its part of the timeline begins. */
  readonly cut: number;
}

/** What one shard has to do with a move. */
export interface MoveSource {
  readonly shard: number;
  /** Shard revision of the write that raised gen for the freeze: what is newer on this shard does not count. */
  readonly stop: number;
}

export interface MoveDestination {
  readonly shard: number;
  /** Shard revision of the newest import, at which the shard holds exactly what the sources hold at their stops. */
  readonly ready: number;
  readonly twins: Twins;
  readonly offsets: Offsets;
}

/**
 * A step of resharding, as the log tells it. Whether it is valid is decided by the fold (placement.ts), so a repeated or late
 * one does nothing. A position is where an entry stands in the log.
 */
export type Change =
  /** From the map in force to `map`; `after` is the number of the plan before. */
  | {
      readonly kind: "plan";
      readonly after: number;
      readonly map: string;
      readonly shards: readonly PlanShard[];
    }
  /** Makes the entry's position the mover's name. */
  | { readonly kind: "claim" }
  /** Gives the mover a position for the destinations' gen. */
  | { readonly kind: "begin"; readonly mover: number }
  /** Stops the calls to the keys between `cursor` and `to`. */
  | {
      readonly kind: "freeze";
      readonly mover: number;
      readonly plan: number;
      readonly cursor: Bound;
      readonly to: Bound;
    }
  /** Takes the freeze at position `freeze` back. */
  | { readonly kind: "thaw"; readonly mover: number; readonly freeze: number }
  /** From here on the destinations hold the step that was frozen at position `freeze`. */
  | {
      readonly kind: "move";
      readonly mover: number;
      readonly freeze: number;
      readonly sources: readonly MoveSource[];
      readonly destinations: readonly MoveDestination[];
      /** Keys that the sources hold at their stops and whose lease has ended before the destination could hold them with it. */
      readonly ended: readonly Uint8Array[];
    }
  /** Plan number `plan` is carried out. */
  | { readonly kind: "done"; readonly plan: number }
  /** Plan number `plan` goes back to where it came from, under the next number. */
  | { readonly kind: "turn back"; readonly plan: number };

/** As JSON: keys and lists of revisions are base64. ASCII but for names in maps and endpoints. */
export function encodeChange(change: Change): string {
  switch (change.kind) {
    case "freeze":
      return JSON.stringify({ ...change, cursor: boundText(change.cursor), to: boundText(change.to) });
    case "move":
      return JSON.stringify({
        ...change,
        sources: change.sources.map(({ shard, stop }) => [shard, stop]),
        destinations: change.destinations.map(({ shard, ready, twins, offsets }) => [
          shard,
          ready,
          encodePairs(twins.shardRevisions, twins.revisions).toString("base64"),
          encodePairs(offsets.lives, offsets.offsets).toString("base64"),
        ]),
        ended: change.ended.map(boundText),
      });
    default:
      return JSON.stringify(change);
  }
}

/**
 * Reads what `encodeChange` has written, parsed as JSON. Throws a SyntaxError for anything else, unknown fields included: they may
 * say something that this program would get wrong.
 */
export function decodeChange(json: unknown): Change {
  const fields = objectOf(json);
  const { kind } = fields;
  switch (kind) {
    case "plan":
      only(fields, "after", "map", "shards");
      return {
        kind,
        after: numberOf(fields.after),
        map: textOf(fields.map),
        shards: listOf(fields.shards).map(decodeShard),
      };
    case "claim":
      only(fields);
      return { kind };
    case "begin":
      only(fields, "mover");
      return { kind, mover: numberOf(fields.mover) };
    case "freeze":
      only(fields, "mover", "plan", "cursor", "to");
      return {
        kind,
        mover: numberOf(fields.mover),
        plan: numberOf(fields.plan),
        cursor: boundOf(fields.cursor),
        to: boundOf(fields.to),
      };
    case "thaw":
      only(fields, "mover", "freeze");
      return { kind, mover: numberOf(fields.mover), freeze: numberOf(fields.freeze) };
    case "move":
      only(fields, "mover", "freeze", "sources", "destinations", "ended");
      return {
        kind,
        mover: numberOf(fields.mover),
        freeze: numberOf(fields.freeze),
        sources: listOf(fields.sources).map((source) => {
          const [shard, stop] = tupleOf(source, 2).map(numberOf);
          return { shard, stop };
        }),
        destinations: listOf(fields.destinations).map(decodeDestination),
        ended: listOf(fields.ended).map(keyOf),
      };
    case "done":
    case "turn back":
      only(fields, "plan");
      return { kind, plan: numberOf(fields.plan) };
    default:
      throw wrong(`kind ${JSON.stringify(kind)}`);
  }
}

/** A place between keys as JSON. */
export const boundText = (bound: Bound): string | null =>
  bound === null ? null : Buffer.from(bound).toString("base64");

/** Reads `boundText`'s result. Throws a SyntaxError for anything else. */
export const boundOf = (json: unknown): Bound => (json === null ? null : keyOf(json));

/** Reads a key in base64. Throws a SyntaxError for anything else. */
export const keyOf = (json: unknown): Uint8Array => new Uint8Array(Buffer.from(textOf(json), "base64"));

function decodeShard(json: unknown): PlanShard {
  const fields = objectOf(json);
  only(fields, "index", "name", "endpoints", "clusterId", "cut");
  return {
    index: numberOf(fields.index),
    name: textOf(fields.name),
    endpoints: listOf(fields.endpoints).map(textOf),
    clusterId: textOf(fields.clusterId),
    cut: numberOf(fields.cut),
  };
}

function decodeDestination(json: unknown): MoveDestination {
  const [shard, ready, twins, offsets] = tupleOf(json, 4);
  const twinPairs = decodePairs(Buffer.from(textOf(twins), "base64"));
  const offsetPairs = decodePairs(Buffer.from(textOf(offsets), "base64"));
  return {
    shard: numberOf(shard),
    ready: numberOf(ready),
    twins: { shardRevisions: twinPairs.ascending, revisions: twinPairs.values },
    offsets: { lives: offsetPairs.ascending, offsets: offsetPairs.values },
  };
}

type Fields = Readonly<Record<string, unknown>>;

function only(fields: Fields, ...names: string[]): void {
  for (const name of Object.keys(fields)) {
    if (name !== "kind" && !names.includes(name)) throw wrong(`field ${JSON.stringify(name)}`);
  }
}

function objectOf(json: unknown): Fields {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw wrong("value, not an object");
  return json as Fields;
}

function listOf(json: unknown): readonly unknown[] {
  if (!Array.isArray(json)) throw wrong("value, not a list");
  return json;
}

function tupleOf(json: unknown, length: number): readonly unknown[] {
  const list = listOf(json);
  if (list.length !== length) throw wrong(`list of ${list.length}, not ${length}`);
  return list;
}

function numberOf(json: unknown): number {
  if (!Number.isSafeInteger(json) || (json as number) < 0) throw wrong("value, not a number");
  return json as number;
}

function textOf(json: unknown): string {
  if (typeof json !== "string") throw wrong("value, not a text");
  return json;
}

const wrong = (what: string): SyntaxError =>
  new SyntaxError(`a change of the placement in the timeline log has an unknown ${what}`);
