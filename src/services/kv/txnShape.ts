import type { Router } from "../../routing/router.js";
import type { ShardSet } from "../../shard/shardSet.js";
import { Code, StatusError } from "../../status/error.js";
import { KEY_ALONE, type KeyRange } from "../../wire/keyRange.js";
import type { RequestOp, TxnRequest } from "../../wire/messages.js";
import { quoteRange, reservedKey, shardsOfRange, visible } from "./keyspace.js";

/** What a transaction concerns, over all compares and operations of all branches, including nested transactions. */
export interface TxnShape {
  /** Distinct shards, in order of occurrence. */
  readonly shards: readonly number[];
  /** True when some branch puts a key, or deletes a range that can hold keys. */
  readonly writes: boolean;
  /** Set if its own failure branch may write. */
  readonly otherwise: Otherwise | undefined;
  /** Distinct leases of its puts. */
  readonly leases: readonly bigint[];
  /** True when both branches have only ranges. etcd does not log such a transaction. */
  readonly readOnly: boolean;
  /** True for a read-only transaction whose ranges are all serializable. False when it has no ranges. */
  readonly serializable: boolean;
}

/** A transaction that may write if its compares do not hold. */
export interface Otherwise {
  /** A key that one of its own operations puts, on either branch; undefined if they put none. */
  readonly put: Uint8Array | undefined;
}

interface Shape {
  readonly shards: Set<number>;
  readonly leases: Set<bigint>;
  writes: boolean;
}

/** Throws `StatusError` where the transaction writes a reserved key. */
export function shapeOf(request: TxnRequest, router: Router): TxnShape {
  const shape: Shape = { shards: new Set(), leases: new Set(), writes: false };
  for (const touch of touches(request)) collect(touch, router, shape);
  const ops = [...request.success, ...request.failure];
  const readOnly = ops.every((op) => op.kind === "range");
  return {
    shards: [...shape.shards],
    writes: shape.writes,
    otherwise: otherwiseOf(request),
    leases: [...shape.leases],
    readOnly,
    serializable: ops.length > 0 && ops.every((op) => op.kind === "range" && op.request.serializable),
  };
}

function collect({ range, use, lease }: Touch, router: Router, shape: Shape): void {
  if (isReservedWrite(range, use)) throw reservedKey(range.key);
  const shards = shardsOf(range, router);
  for (const shard of shards) shape.shards.add(shard);
  if (use !== "read" && shards.length > 0) shape.writes = true;
  if (lease !== 0n) shape.leases.add(lease);
}

function otherwiseOf({ success, failure }: TxnRequest): Otherwise | undefined {
  if (!failure.some(mayWrite)) return undefined;
  for (const branch of [success, failure]) {
    for (const op of branch) if (op.kind === "put") return { put: op.request.key };
  }
  return { put: undefined };
}

function mayWrite(op: RequestOp): boolean {
  if (op.kind !== "txn") return op.kind !== "range";
  return op.request.success.some(mayWrite) || op.request.failure.some(mayWrite);
}

/** One compare, or one operation, of a transaction. */
interface Touch {
  readonly range: KeyRange;
  readonly use: "read" | "put" | "delete";
  /** 0 for none. */
  readonly lease: bigint;
}

/** All keys and ranges that a transaction names. */
export function* rangesOf(request: TxnRequest): Generator<KeyRange> {
  for (const { range } of touches(request)) yield range;
}

function* touches(request: TxnRequest): Generator<Touch> {
  for (const compare of request.compare) yield { range: compare, use: "read", lease: 0n };
  for (const branch of [request.success, request.failure]) {
    for (const op of branch) {
      if (op.kind === "range") yield { range: op.request, use: "read", lease: 0n };
      else if (op.kind === "deleteRange") yield { range: op.request, use: "delete", lease: 0n };
      else if (op.kind === "put")
        yield { range: oneKey(op.request.key), use: "put", lease: op.request.lease };
      else if (op.kind === "txn") yield* touches(op.request);
    }
  }
}

function oneKey(key: Uint8Array): KeyRange {
  return { key, rangeEnd: KEY_ALONE };
}

function isReservedWrite(range: KeyRange, use: Touch["use"]): boolean {
  return use !== "read" && range.rangeEnd.length === 0 && visible(range) === undefined;
}

function shardsOf(range: KeyRange, router: Router): readonly number[] {
  const seen = visible(range);
  return seen === undefined ? [] : shardsOfRange(router, seen);
}

/** Most keys and ranges that an error names. */
const MAX_NAMED = 8;

/** The error of a transaction that writes and is not on one shard. It says which key or range lies where. */
export function acrossShards(
  request: TxnRequest,
  router: Router,
  shards: ShardSet<{ readonly name: string }>,
): StatusError {
  const places = new Map<string, string>();
  for (const { range } of touches(request)) {
    const on = shardsOf(range, router).map((shard) => `"${shards.at(shard).name}"`);
    if (on.length === 0) continue;
    places.set(quoteRange(range), on.length === 1 ? `shard ${on[0]}` : `shards ${on.join(", ")}`);
  }
  const named = representatives(places).map(([range, place]) => `${range} is on ${place}`);
  const more = places.size - named.length;
  const rest = more > 0 ? `, and ${more} more` : "";
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `etcd-braid: transaction would write across shards: ${named.join(", ")}${rest}; ` +
      "a transaction that writes must stay on one shard",
  );
}

/** At most `MAX_NAMED` of the places. The first range of each place comes before the others. */
function representatives(places: ReadonlyMap<string, string>): [string, string][] {
  const known = new Set<string>();
  const fresh: [string, string][] = [];
  const others: [string, string][] = [];
  for (const [range, place] of places) {
    (known.has(place) ? others : fresh).push([range, place]);
    known.add(place);
  }
  return [...fresh, ...others].slice(0, MAX_NAMED);
}
