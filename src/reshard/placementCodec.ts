import { boundOf, boundText, keyOf, type PlanShard } from "./change.js";
import { OffsetTable } from "./offsets.js";
import type { Move, PlacementState, Plan } from "./placement.js";
import { TwinTable } from "./twins.js";

/*
 * The JSON of a placement, for a base, without its twins and version offsets (importsCodec.ts). Map texts are in one list that
 * the rest refers to by index, because all moves of a plan name the same two.
 */

interface PlacementJson {
  shards: readonly PlanShard[];
  maps: string[];
  plans: number;
  inForce: number;
  earlier: number[];
  plan?: {
    number: number;
    below: number;
    above: number;
    up: boolean;
    cursor: string | null;
    frozen?: { position: number; from: string | null; to: string | null; revision: number };
  };
  mover: number;
  position: number;
  cleanFrom: number;
  moves: {
    revision: number;
    freeze: number;
    frozenAt: number;
    from: string | null;
    to: string | null;
    source: number;
    destination: number;
    stops: [number, number][];
    readies: [number, number][];
    ended: (string | null)[];
  }[];
}

/** Encodes a placement as JSON text, without twins and version offsets. */
export function encodePlacement(state: Readonly<PlacementState>): string {
  const maps: string[] = [];
  const mapOf = (text: string): number => {
    const known = maps.indexOf(text);
    return known >= 0 ? known : maps.push(text) - 1;
  };
  const { plan } = state;
  const json: PlacementJson = {
    shards: state.shards,
    maps,
    plans: state.plans,
    inForce: mapOf(state.inForce),
    earlier: state.earlier.map(mapOf),
    ...(plan !== undefined && {
      plan: {
        number: plan.number,
        below: mapOf(plan.below),
        above: mapOf(plan.above),
        up: plan.up,
        cursor: boundText(plan.cursor),
        ...(plan.frozen !== undefined && {
          frozen: {
            position: plan.frozen.position,
            from: boundText(plan.frozen.from),
            to: boundText(plan.frozen.to),
            revision: plan.frozen.revision,
          },
        }),
      },
    }),
    mover: state.mover,
    position: state.position,
    cleanFrom: state.cleanFrom,
    moves: state.moves.map((move) => ({
      revision: move.revision,
      freeze: move.freeze,
      frozenAt: move.frozenAt,
      from: boundText(move.from),
      to: boundText(move.to),
      source: mapOf(move.source),
      destination: mapOf(move.destination),
      stops: [...move.stops],
      readies: [...move.readies],
      ended: move.ended.map(boundText),
    })),
  };
  return JSON.stringify(json);
}

/** Decodes the result of `encodePlacement`. Throws a SyntaxError for invalid JSON and missing maps. */
export function decodePlacement(text: string): PlacementState {
  const json = JSON.parse(text) as PlacementJson;
  return {
    shards: [...json.shards],
    plans: json.plans,
    inForce: mapAt(json, json.inForce),
    earlier: json.earlier.map((map) => mapAt(json, map)),
    plan: planOf(json),
    mover: json.mover,
    position: json.position,
    cleanFrom: json.cleanFrom,
    moves: json.moves.map(
      (move): Move => ({
        revision: move.revision,
        freeze: move.freeze,
        frozenAt: move.frozenAt,
        from: boundOf(move.from),
        to: boundOf(move.to),
        source: mapAt(json, move.source),
        destination: mapAt(json, move.destination),
        stops: new Map(move.stops),
        readies: new Map(move.readies),
        ended: move.ended.map(keyOf),
      }),
    ),
    twins: new TwinTable(),
    offsets: new OffsetTable(),
  };
}

function mapAt({ maps }: PlacementJson, index: number): string {
  const text = maps[index];
  if (text === undefined) throw new SyntaxError(`a stored placement lacks its map ${index}`);
  return text;
}

function planOf(json: PlacementJson): Plan | undefined {
  const { plan } = json;
  if (plan === undefined) return undefined;
  const { frozen } = plan;
  return {
    number: plan.number,
    below: mapAt(json, plan.below),
    above: mapAt(json, plan.above),
    up: plan.up,
    cursor: boundOf(plan.cursor),
    frozen:
      frozen === undefined
        ? undefined
        : {
            position: frozen.position,
            from: boundOf(frozen.from),
            to: boundOf(frozen.to),
            revision: frozen.revision,
          },
  };
}
