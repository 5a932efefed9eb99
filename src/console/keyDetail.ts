import { StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { type KeyValue, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse } from "../wire/messages.js";
import { Lease } from "../wire/paths.js";
import { encodeBytes } from "./bytes.js";
import type { Calls, Method } from "./calls.js";
import { RANGE } from "./keyTree.js";
import type { KeyReport, PlaceReport, VersionReport, VersionsReport } from "./report.js";

const TIME_TO_LIVE: Method<LeaseTimeToLiveRequest, LeaseTimeToLiveResponse> = {
  path: Lease.LeaseTimeToLive,
  request: LeaseTimeToLiveRequest,
  response: LeaseTimeToLiveResponse,
};

/** Larger values are shown only in part, unless the whole one is asked for, in bytes. */
const SHOWN_BYTES = 64 * 1024;
/** Versions of one page of the past. Each is a Range. */
const PAGE_VERSIONS = 10;
/** Values of past versions are shown up to this size, in bytes. */
const PAST_BYTES = 16 * 1024;

/** A key as it is now. With `whole`, its value is not cut. */
export async function keyReport(
  calls: Calls,
  key: Uint8Array,
  whole: boolean,
  place: PlaceReport,
): Promise<KeyReport> {
  const { kvs, header } = await calls.call(RANGE, { key });
  const [kv] = kvs;
  const common = { key: encodeBytes(key), revision: header.revision, place };
  if (kv === undefined) return { ...common, current: null, lease: null };
  const current = versionOf(kv, whole ? Number.POSITIVE_INFINITY : SHOWN_BYTES);
  return { ...common, current, lease: kv.lease === 0n ? null : await leaseOf(calls, kv.lease) };
}

/** A lease that has just ended, or whose shard does not respond, has no times. */
async function leaseOf(calls: Calls, id: bigint): Promise<KeyReport["lease"]> {
  const { ttl, grantedTtl } = await calls
    .call(TIME_TO_LIVE, { id })
    .catch(() => ({ ttl: -1, grantedTtl: 0 }));
  return { id: id.toString(), ttl, grantedTtl };
}

/** The version of a key at one revision, with its whole value. Null if there is none. */
export async function versionAt(
  calls: Calls,
  key: Uint8Array,
  revision: number,
): Promise<VersionReport | null> {
  const { kvs } = await calls.call(RANGE, { key, revision });
  return kvs[0] === undefined ? null : versionOf(kvs[0], Number.POSITIVE_INFINITY);
}

/** Versions of a key before the revision `before`, newest first, as far as they are not compacted. */
export async function pastVersions(calls: Calls, key: Uint8Array, before: number): Promise<VersionsReport> {
  const versions: VersionReport[] = [];
  let revision = before - 1;
  while (versions.length < PAGE_VERSIONS) {
    if (revision < 1) return { versions, next: null, end: "created" };
    let kv: KeyValue | undefined;
    try {
      ({
        kvs: [kv],
      } = await calls.call(RANGE, { key, revision }));
    } catch (reason) {
      if (!etcd.compacted.is(StatusError.from(reason))) throw reason;
      return { versions, next: null, end: "compacted" };
    }
    // The key did not exist then. What was before that cannot be found without reading every revision.
    if (kv === undefined) return { versions, next: null, end: "created" };
    versions.push(versionOf(kv, PAST_BYTES));
    revision = kv.modRevision - 1;
  }
  return { versions, next: revision + 1, end: null };
}

function versionOf(kv: KeyValue, maxBytes: number): VersionReport {
  const { createRevision, modRevision, version, lease, value } = kv;
  const isWhole = value.length <= maxBytes;
  return {
    createRevision,
    modRevision,
    version,
    lease: lease.toString(),
    size: value.length,
    value: encodeBytes(isWhole ? value : value.subarray(0, maxBytes)),
    isWhole,
  };
}
