import { randomBytes } from "node:crypto";
import { genDigits } from "../reshard/gen.js";
import { Code, StatusError } from "../status/error.js";
import type { KeyValue } from "../wire/messages.js";
import { claimKey, isMarkKey, markKey, parseMarkKey } from "./keys.js";

/*
 * Every cluster of a store carries a mark: which store it belongs to, as which shard, and where the timeline is.
 * The key contains the store's id. The value is gen (`reshard/gen.ts`), a space, and JSON. gen has a fixed width, so that a
 * transaction can compare it as a prefix (VALUE LESS). Every write of a client does, so that a proxy that has missed a change
 * of the placement or belongs to another store cannot write.
 */

/** Which cluster keeps the timeline log. */
export interface HostPlace {
  /** Name of the shard; `HOST_NAME` for a cluster that is not a shard. */
  readonly name: string;
  /** Id of the etcd cluster, decimal. */
  readonly clusterId: string;
}

/** A decoded mark. */
export interface Mark {
  /** The store's id: 16 lower-case hexadecimal digits. */
  readonly store: string;
  /** Name of the shard, or `HOST_NAME`. */
  readonly name: string;
  /** Index of the shard; -1 for a timeline host that is not a shard. */
  readonly index: number;
  readonly host: HostPlace;
}

/** Name, in marks, of a timeline host that is not a shard. Shards cannot have this name. */
export const HOST_NAME = "timeline host";

/** The first generation. */
const FIRST_GENERATION = genDigits(0);

/** Makes a store id of 64 random bits, never 0. */
export function newStoreId(): string {
  const id = randomBytes(8).toString("hex");
  return /[1-9a-f]/.test(id) ? id : newStoreId();
}

/** All marks and claims of one cluster. */
export interface Marks {
  readonly marks: readonly Mark[];
  /** Stores that claimed the cluster before any cluster was marked. */
  readonly claims: readonly { readonly store: string; readonly host: HostPlace }[];
  /** Create and mod revisions of marks and claims, ascending. */
  readonly revisions: readonly number[];
}

interface MarkJson {
  readonly format: 1;
  readonly name: string;
  readonly index: number;
  readonly host: HostPlace;
}

/** Encodes a mark whose gen is `position`. */
export function encodeMark({ store, name, index, host }: Mark, position = 0): { key: Buffer; value: Buffer } {
  const json: MarkJson = { format: 1, name, index, host };
  return { key: markKey(store), value: Buffer.from(`${genDigits(position)} ${JSON.stringify(json)}`) };
}

export function encodeClaim(store: string, host: HostPlace): { key: Buffer; value: Buffer } {
  return { key: claimKey(store), value: Buffer.from(JSON.stringify({ format: 1, host })) };
}

/** Returns the mark `value` with another host or index, and the same generation. */
export function withPlace(value: Uint8Array, place: Partial<Pick<Mark, "host" | "index">>): Buffer {
  const text = Buffer.from(value).toString();
  const json: MarkJson = { ...JSON.parse(text.slice(FIRST_GENERATION.length)), ...place };
  return Buffer.from(`${text.slice(0, FIRST_GENERATION.length)} ${JSON.stringify(json)}`);
}

/**
 * True for a mark whose generation is above zero. The host's revision of such a put gets a revision of the store, as on other
 * shards: nothing but the newest mark remains on the host, so a proxy that loads the log later could not know which revisions
 * earlier puts had. Marks of generation zero are put with the log's tail, or before the first base.
 */
export function isRaisedMark(key: string, value: Uint8Array): boolean {
  if (!isMarkKey(Buffer.from(key, "latin1"))) return false;
  const digits = Buffer.from(value.buffer, value.byteOffset, value.length).toString(
    "latin1",
    0,
    FIRST_GENERATION.length,
  );
  return /^[0-9a-f]{16}$/.test(digits) && digits !== FIRST_GENERATION;
}

/** Returns the mark `value` with the generation of `position`. */
export function withGen(value: Uint8Array, position: number): Buffer {
  return Buffer.concat([Buffer.from(genDigits(position)), value.subarray(FIRST_GENERATION.length)]);
}

/** Decodes the keys of the range of marks. Throws FAILED_PRECONDITION for an unknown format. */
export function decodeMarks(kvs: readonly KeyValue[]): Marks {
  const marks: Mark[] = [];
  const claims: { store: string; host: HostPlace }[] = [];
  const revisions = new Set<number>();
  for (const { key, value, createRevision, modRevision } of kvs) {
    revisions.add(createRevision).add(modRevision);
    const { store, isClaim } = parseMarkKey(key);
    if (isClaim) claims.push({ store, host: parse(Buffer.from(value).toString()).host });
    else marks.push(decodeMark(store, value));
  }
  return { marks, claims, revisions: [...revisions].sort((a, b) => a - b) };
}

/** Decodes the mark of `store`. Throws FAILED_PRECONDITION for an unknown format. */
export function decodeMark(store: string, value: Uint8Array): Mark {
  const { name, index, host } = parse(Buffer.from(value).toString().slice(FIRST_GENERATION.length));
  return { store, name, index, host };
}

function parse(text: string): MarkJson {
  let json: MarkJson | undefined;
  try {
    json = JSON.parse(text);
  } catch {
    // Reported below as an unknown format.
  }
  if (json?.format === 1) return json;
  throw new StatusError(
    Code.FAILED_PRECONDITION,
    `the cluster's store mark has format ${json?.format ?? "unknown"}; ` +
      "this version of etcd-braid supports format 1",
  );
}
