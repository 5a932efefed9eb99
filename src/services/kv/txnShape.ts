import type { Router } from "../../routing/router.js";
import { Code, StatusError } from "../../status/error.js";
import { KEY_ALONE, type KeyRange } from "../../wire/keyRange.js";
import type { TxnRequest } from "../../wire/messages.js";
import { quoteRange, reservedKey, visible } from "./keyspace.js";

/** What a transaction touches, over all its compares and operations in all branches, nested ones too. */
export interface TxnShape {
  /** Distinct shards, in the order in which they come up. */
  readonly shards: readonly number[];
  /** True when some branch puts, or deletes in an extent that can hold keys. */
  readonly writes: boolean;
  /** Leases that its puts name, each once. */
  readonly leases: readonly bigint[];
  /** True when etcd takes it off its log: both branches hold nothing but ranges. */
  readonly readOnly: boolean;
  /** True for a read-only one all of whose ranges are serializable; false when it has none. */
  readonly serializable: boolean;
}

interface Shape {
  readonly shards: Set<number>;
  readonly leases: Set<bigint>;
  writes: boolean;
}

/** Throws `StatusError` where the transaction writes a reserved key. */
export function shapeOf(request: TxnRequest, router: Router): TxnShape {
  const shape: Shape = { shards: new Set(), leases: new Set(), writes: false };
  collect(request, router, shape);
  const ops = [...request.success, ...request.failure];
  const readOnly = ops.every((op) => op.kind === "range");
  return {
    shards: [...shape.shards],
    writes: shape.writes,
    leases: [...shape.leases],
    readOnly,
    serializable: ops.length > 0 && ops.every((op) => op.kind === "range" && op.request.serializable),
  };
}

function collect(request: TxnRequest, router: Router, shape: Shape): void {
  for (const { extent, use, lease } of extents(request)) {
    if (isReservedWrite(extent, use)) throw reservedKey(extent.key);
    const shards = shardsOf(extent, router);
    for (const shard of shards) shape.shards.add(shard);
    if (use !== "read" && shards.length > 0) shape.writes = true;
    if (lease !== 0n) shape.leases.add(lease);
  }
}

interface Touch {
  readonly extent: KeyRange;
  readonly use: "read" | "put" | "delete";
  /** 0 for none. */
  readonly lease: bigint;
}

/** All extents that a transaction names. */
export function* extentsOf(request: TxnRequest): Generator<KeyRange> {
  for (const { extent } of extents(request)) yield extent;
}

function* extents(request: TxnRequest): Generator<Touch> {
  for (const compare of request.compare) yield { extent: compare, use: "read", lease: 0n };
  for (const branch of [request.success, request.failure]) {
    for (const op of branch) {
      if (op.kind === "range") yield { extent: op.request, use: "read", lease: 0n };
      else if (op.kind === "deleteRange") yield { extent: op.request, use: "delete", lease: 0n };
      else if (op.kind === "put")
        yield { extent: oneKey(op.request.key), use: "put", lease: op.request.lease };
      else if (op.kind === "txn") yield* extents(op.request);
    }
  }
}

function oneKey(key: Uint8Array): KeyRange {
  return { key, rangeEnd: KEY_ALONE };
}

function isReservedWrite(extent: KeyRange, use: Touch["use"]): boolean {
  return use !== "read" && extent.rangeEnd.length === 0 && visible(extent) === undefined;
}

function shardsOf(extent: KeyRange, router: Router): readonly number[] {
  const seen = visible(extent);
  if (seen === undefined) return [];
  return seen.rangeEnd.length === 0 ? [router.shardOf(seen.key)] : router.shardsOf(seen.key, seen.rangeEnd);
}

/** Extents named in an error. */
const NAMED = 8;

/** What a client gets whose transaction writes and is not on one shard: which key or range lies where. */
export function acrossShards(
  request: TxnRequest,
  router: Router,
  shards: readonly { name: string }[],
): StatusError {
  const places = new Map<string, string>();
  for (const { extent } of extents(request)) {
    const on = shardsOf(extent, router).map((shard) => `"${shards[shard].name}"`);
    if (on.length === 0) continue;
    places.set(quoteRange(extent), on.length === 1 ? `shard ${on[0]}` : `shards ${on.join(", ")}`);
  }
  const named = [...representatives(places)].map(([extent, place]) => `${extent} is on ${place}`);
  const more = places.size - named.length;
  const rest = more > 0 ? `, and ${more} more` : "";
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `etcd-braid: transaction would write across shards: ${named.join(", ")}${rest}; ` +
      "a transaction that writes must stay on one shard",
  );
}

/** At most `NAMED` of the places, those first that no other has yet. */
function representatives(places: ReadonlyMap<string, string>): [string, string][] {
  const known = new Set<string>();
  const fresh: [string, string][] = [];
  const others: [string, string][] = [];
  for (const [extent, place] of places) {
    (known.has(place) ? others : fresh).push([extent, place]);
    known.add(place);
  }
  return [...fresh, ...others].slice(0, NAMED);
}
