import type { Bound } from "./bound.js";
import type { Offsets } from "./offsets.js";
import { decodePairs, encodePairs } from "./pairs.js";
import type { Twins } from "./twins.js";

/** A shard that a plan needs. */
export interface PlanShard {
  /** Index in the store: the next free one, or the earlier index of a cluster that comes back. */
  readonly index: number;
  readonly name: string;
  readonly endpoints: readonly string[];
  /** ID of the etcd cluster, in decimal. */
  readonly clusterId: string;
  /** Shard revision after which the shard's part of the timeline begins. */
  readonly cut: number;
}

/** A shard that held keys of a step before its move. */
export interface MoveSource {
  readonly shard: number;
  /** Shard revision of the write that raised gen for the freeze. Newer changes to the step's keys here do not count. */
  readonly stop: number;
}

/** A shard that holds keys of a step after its move. */
export interface MoveDestination {
  readonly shard: number;
  /** Shard revision of the mover's newest write. Here the shard holds exactly what the sources hold at their stops. */
  readonly ready: number;
  readonly twins: Twins;
  readonly offsets: Offsets;
}

/**
 * A change of the placement, as the log stores it. The fold (placement.ts) decides whether it is valid, so a repeated or
 * late change does nothing. A position is the place of an entry in the log.
 */
export type Change =
  /** Starts a plan from the map in force to `map`. `after` is the number of the previous plan. */
  | {
      readonly kind: "plan";
      readonly after: number;
      readonly map: string;
      readonly shards: readonly PlanShard[];
    }
  /** Makes the writer of the entry the mover, named by the entry's position. */
  | { readonly kind: "claim" }
  /** Gives the mover a position to which it raises gen on the destinations. */
  | { readonly kind: "begin"; readonly mover: number }
  /** Makes calls to the step between `cursor` and `to` wait. */
  | {
      readonly kind: "freeze";
      readonly mover: number;
      readonly plan: number;
      readonly cursor: Bound;
      readonly to: Bound;
    }
  /** Cancels the freeze at position `freeze`. */
  | { readonly kind: "thaw"; readonly mover: number; readonly freeze: number }
  /** Hands the step that was frozen at position `freeze` to the destinations. */
  | {
      readonly kind: "move";
      readonly mover: number;
      readonly freeze: number;
      readonly sources: readonly MoveSource[];
      readonly destinations: readonly MoveDestination[];
      /** Keys that the sources hold at their stops, but whose lease ended before a destination could attach it. */
      readonly ended: readonly Uint8Array[];
    }
  /** Ends plan number `plan`: its sweep is complete. */
  | { readonly kind: "done"; readonly plan: number }
  /** Reverses plan number `plan`, which gets the next number. */
  | { readonly kind: "turn back"; readonly plan: number };

/** Encodes a change as JSON, with keys and lists of revisions in base64. */
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
 * Decodes the parsed JSON of `encodeChange`. Throws a SyntaxError for anything else. That includes unknown fields: a version
 * that ignores them could compute another placement.
 */
export function decodeChange(json: unknown): Change {
  const fields = objectOf(json);
  const { kind } = fields;
  switch (kind) {
    case "plan":
      checkFields(fields, "after", "map", "shards");
      return {
        kind,
        after: numberOf(fields.after),
        map: textOf(fields.map),
        shards: listOf(fields.shards).map(decodeShard),
      };
    case "claim":
      checkFields(fields);
      return { kind };
    case "begin":
      checkFields(fields, "mover");
      return { kind, mover: numberOf(fields.mover) };
    case "freeze":
      checkFields(fields, "mover", "plan", "cursor", "to");
      return {
        kind,
        mover: numberOf(fields.mover),
        plan: numberOf(fields.plan),
        cursor: boundOf(fields.cursor),
        to: boundOf(fields.to),
      };
    case "thaw":
      checkFields(fields, "mover", "freeze");
      return { kind, mover: numberOf(fields.mover), freeze: numberOf(fields.freeze) };
    case "move":
      checkFields(fields, "mover", "freeze", "sources", "destinations", "ended");
      return {
        kind,
        mover: numberOf(fields.mover),
        freeze: numberOf(fields.freeze),
        sources: listOf(fields.sources).map(decodeSource),
        destinations: listOf(fields.destinations).map(decodeDestination),
        ended: listOf(fields.ended).map(keyOf),
      };
    case "done":
    case "turn back":
      checkFields(fields, "plan");
      return { kind, plan: numberOf(fields.plan) };
    default:
      throw invalid(`unknown kind ${JSON.stringify(kind)}`);
  }
}

/** Encodes a bound for JSON: base64, or null for the end of the keyspace. */
export const boundText = (bound: Bound): string | null =>
  bound === null ? null : Buffer.from(bound).toString("base64");

/** Decodes the result of `boundText`. Throws a SyntaxError for anything else. */
export const boundOf = (json: unknown): Bound => (json === null ? null : keyOf(json));

/** Decodes a key in base64. Throws a SyntaxError when `json` is not a string. */
export const keyOf = (json: unknown): Uint8Array => new Uint8Array(Buffer.from(textOf(json), "base64"));

function decodeShard(json: unknown): PlanShard {
  const fields = objectOf(json);
  checkFields(fields, "index", "name", "endpoints", "clusterId", "cut");
  return {
    index: numberOf(fields.index),
    name: textOf(fields.name),
    endpoints: listOf(fields.endpoints).map(textOf),
    clusterId: textOf(fields.clusterId),
    cut: numberOf(fields.cut),
  };
}

function decodeSource(json: unknown): MoveSource {
  const [shard, stop] = tupleOf(json, 2);
  return { shard: numberOf(shard), stop: numberOf(stop) };
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

/** Throws a SyntaxError for fields that are neither `kind` nor in `names`. */
function checkFields(fields: Fields, ...names: string[]): void {
  for (const name of Object.keys(fields)) {
    if (name !== "kind" && !names.includes(name)) throw invalid(`unknown field ${JSON.stringify(name)}`);
  }
}

function objectOf(json: unknown): Fields {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw invalid("expected an object");
  return json as Fields;
}

function listOf(json: unknown): readonly unknown[] {
  if (!Array.isArray(json)) throw invalid("expected a list");
  return json;
}

function tupleOf(json: unknown, length: number): readonly unknown[] {
  const list = listOf(json);
  if (list.length !== length) throw invalid(`expected a list of ${length} values, got ${list.length}`);
  return list;
}

function numberOf(json: unknown): number {
  if (!Number.isSafeInteger(json) || (json as number) < 0)
    throw invalid("expected an integer from 0 to 2^53 - 1");
  return json as number;
}

function textOf(json: unknown): string {
  if (typeof json !== "string") throw invalid("expected a string");
  return json;
}

const invalid = (what: string): SyntaxError =>
  new SyntaxError(`invalid placement change in the timeline log: ${what}`);
