import type { Config } from "../../config/types.js";
import type { Log } from "../../ops/log.js";
import type { ShardClient } from "../../shard/client.js";
import type { Recognition } from "../../shard/guard.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import type { ShardSet } from "../../shard/shardSet.js";
import { Code, StatusError, withDetail } from "../../status/error.js";
import { decodeBaseHead } from "../../timeline/base.js";
import { BASE_KEY, MARKS_BEGIN, MARKS_END, markKey, TAIL_KEY } from "../../timeline/keys.js";
import {
  decodeMarks,
  encodeClaim,
  encodeMark,
  HOST_NAME,
  type HostPlace,
  newStoreId,
  withHost,
} from "../../timeline/mark.js";
import {
  CompareResult,
  CompareTarget,
  EMPTY,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import {
  type ConfiguredCluster,
  type Contradiction,
  ContradictionError,
  describeContradiction,
  findContradictions,
  judgeMarks,
  type Reading,
  storeOf,
  unmarked,
} from "./contradictions.js";
import { findMisplacedKeys, isUnmade } from "./placement.js";

/** The clusters of a configuration. */
export interface Clusters {
  readonly config: Config;
  /** The shard map's canonical text. */
  readonly map: string;
  /** The shards in their order, then the timeline host if it is not a shard. */
  readonly all: readonly ShardClient[];
  readonly host: ShardClient;
  /** See `Connections`. */
  openTimeline(): Promise<void>;
}

/** A store whose clusters have been checked, and marked if they had no marks. */
export interface MarkedStore {
  /** Undefined for a store of an older version if its host is out of space, and so cannot take a mark. */
  readonly id: string | undefined;
  readonly clusters: readonly ConfiguredCluster[];
  readonly host: HostPlace;
  /** Why clusters could not be read, by index. */
  readonly unreachable: ReadonlyMap<number, StatusError>;
}

const RANGE = { key: MARKS_BEGIN, rangeEnd: MARKS_END };
const READ_MARKS = RangeRequest.encode(RANGE);
const READ = TxnRequest.encode({
  success: [
    { kind: "range", request: RANGE },
    { kind: "range", request: { key: BASE_KEY } },
  ],
});

/** Reads the state of a cluster, linearizably. */
export async function readCluster(cluster: Shard): Promise<Reading> {
  const { header, responses } = TxnResponse.decode(await cluster.call(KV.Txn, READ, { idempotent: true }));
  const [marks = [], base = []] = responses.map((each) => (each.kind === "range" ? each.response.kvs : []));
  if (header === undefined)
    throw new StatusError(Code.INTERNAL, `${describeShard(cluster)} sent a response without a header`);
  return {
    clusterId: header.clusterId.toString(),
    revision: header.revision,
    marks: named(cluster, () => decodeMarks(marks)),
    base: base[0]?.value,
  };
}

/**
 * Reads all clusters and compares them with the configuration. Unreachable clusters are left out. Rejects if one returns
 * another error.
 */
export async function inspectClusters(store: Clusters): Promise<Inspection> {
  for (let before = ""; ; ) {
    const read = await readClusters(store);
    const isKnown = await isMapKnown(store, read.clusters);
    const contradictions = findContradictions(store.config, store.map, read.clusters, isKnown);
    // The clusters are not read at the same moment, and another proxy may be creating the store. So a contradiction counts
    // only if a second read shows it too.
    const found = JSON.stringify(contradictions);
    if (contradictions.length === 0 && isUnmade(read.clusters)) {
      return { ...read, contradictions: await findMisplacedKeys(store.config, store.all, read.clusters) };
    }
    if (contradictions.length === 0 || found === before) return { ...read, contradictions };
    before = found;
  }
}

/**
 * True if the configured map is not the one in the base, but the log shows that it is one of the store's: the map of a newer
 * plan, or an earlier one.
 */
async function isMapKnown(
  { host, map, openTimeline }: Clusters,
  clusters: readonly ConfiguredCluster[],
): Promise<boolean> {
  const base = clusters.find(({ index }) => index === host.index)?.reading?.base;
  const head = base && decodeBaseHead(base);
  if (head?.placement === undefined || head.map === map || head.placement.otherMap === map) return false;
  try {
    await openTimeline();
    return true;
  } catch (reason) {
    if (StatusError.from(reason).code !== Code.FAILED_PRECONDITION) throw reason;
    return false;
  }
}

interface Inspection extends Pick<MarkedStore, "clusters" | "unreachable"> {
  readonly contradictions: readonly Contradiction[];
}

async function readClusters({ all }: Clusters): Promise<Pick<MarkedStore, "clusters" | "unreachable">> {
  const unreachable = new Map<number, StatusError>();
  // If there are several errors, the first cluster's counts.
  const results = await Promise.allSettled(all.map(readCluster));
  const clusters = all.map(({ index, name }, i): ConfiguredCluster => {
    const result = results[i]!;
    if (result.status === "fulfilled") return { index, name, reading: result.value };
    const error = StatusError.from(result.reason);
    if (!isUnreachable(error)) throw error;
    unreachable.set(index, error);
    return { index, name, reading: undefined };
  });
  return { clusters, unreachable };
}

export const isUnreachable = ({ code }: StatusError): boolean =>
  code === Code.UNAVAILABLE || code === Code.DEADLINE_EXCEEDED;

/**
 * Checks that the clusters match the configuration, and marks those without a mark: all clusters of a new store, or those
 * of a store of an older version. Then the timeline may be loaded or begun. Rejects with `ContradictionError`, or with
 * UNAVAILABLE if the host cannot be reached, or any cluster of a new store.
 *
 * A new store first claims the cluster with the lowest id, so that one of several proxies with different configurations
 * wins. Then the host is marked, then the others, then the first base is written. If a proxy dies at any point, the next
 * one can continue. A host without a mark among marked shards has lost its data.
 */
export async function markStore(store: Clusters, log: Log): Promise<MarkedStore> {
  const { config, all, host } = store;
  const failed = new Set<number>();
  for (;;) {
    const { clusters, unreachable, contradictions } = await inspectClusters(store);
    if (contradictions.length > 0) throw new ContradictionError(contradictions, config);
    const reading = clusters.find(({ index }) => index === host.index)?.reading;
    if (reading === undefined) throw unreachable.get(host.index);
    const isNew = reading.base === undefined;
    for (const error of unreachable.values()) if (isNew) throw error;
    const place = placeOf(host, reading);
    const known = storeOf(clusters, host.index);
    const id = known ?? newStoreId();
    const rest = clusters.filter((each) => each.reading?.marks.marks.length === 0 && !failed.has(each.index));
    const clientOf = (index: number) => all.find((each) => each.index === index) as ShardClient;
    if (known === undefined && isNew) {
      await claim(clientOf(withLowestId(clusters).index), id, place);
      continue;
    }
    const isHostMarked = rest.every(({ index }) => index !== host.index);
    if (isHostMarked && rest.length === 0) return { id, clusters, host: place, unreachable };
    const next = isHostMarked ? rest : rest.filter(({ index }) => index === host.index);
    const results = await Promise.allSettled(
      next.map(({ index, reading }) =>
        writeMark(clientOf(index), reading as Reading, id, place, !isNew && index === host.index),
      ),
    );
    for (const [i, { index, name }] of next.entries()) {
      const result = results[i]!;
      if (result.status === "fulfilled") continue;
      const error = StatusError.from(result.reason);
      // A store that is already in use works without this mark.
      const isHost = index === host.index;
      if (isNew || (isHost && error.code !== Code.RESOURCE_EXHAUSTED)) throw error;
      log.warn({ cluster: name, error: withDetail(error) }, "the cluster could not be marked as the store's");
      if (isHost) return { id: known, clusters, host: place, unreachable };
      failed.add(index);
    }
  }
}

/** How the guard checks a shard's identity whenever another cluster may have replaced it. */
export function recognitionOf(
  shard: ShardClient,
  store: {
    readonly id: string | undefined;
    readonly host: HostPlace;
    readonly config: Config;
    readonly clients: ShardSet<ShardClient>;
  },
  /** The store's id in the newest base, see `Base`. */
  markedStore: () => string | undefined,
  log: Log,
): Recognition {
  const { id, host, config, clients } = store;
  const judge = async (response: Uint8Array): Promise<StatusError | undefined> => {
    const { header, kvs } = RangeResponse.decode(response);
    const clusterId = String(header?.clusterId);
    const marks = named(shard, () => decodeMarks(kvs));
    // While the host is out of space, the store has no marks.
    if (id === undefined) return undefined;
    const names = clients.all().map(({ name }) => name);
    const wrong = judgeMarks(shard, clusterId, marks, id, names);
    if (wrong !== undefined) {
      // The error of a shard that joins is logged there.
      if (config.shards[shard.index]?.name === shard.name) {
        log.error(
          { setting: wrong.path.join("."), error: describeContradiction(wrong, config) },
          "shard refused",
        );
      }
      return new StatusError(Code.FAILED_PRECONDITION, wrong.message);
    }
    const [mark] = marks.marks;
    if (mark !== undefined && mark.host.clusterId !== host.clusterId) {
      const text = `the timeline is now on the etcd cluster ${mark.host.clusterId}, but this proxy uses ${host.clusterId}`;
      return new StatusError(Code.FAILED_PRECONDITION, `${describeShard(shard)}: ${text}: restart the proxy`);
    }
    if (mark !== undefined) return undefined;
    if (markedStore() !== undefined) {
      return new StatusError(Code.DATA_LOSS, `${describeShard(shard)}: ${unmarked(clusterId, shard.name)}`);
    }
    // A store of an older version; the shard was down when this proxy started.
    const reading = await readCluster(shard);
    const isWritten = await writeMark(shard, reading, id, host, false).catch((reason) => {
      log.warn(
        { cluster: shard.name, error: withDetail(reason) },
        "the cluster could not be marked as the store's",
      );
      return true;
    });
    return isWritten ? undefined : judge(await shard.call(KV.Range, READ_MARKS, { idempotent: true }));
  };
  return { request: READ_MARKS, judge };
}

/** The timeline host as marks record it. */
export const placeOf = ({ index, name }: Shard, { clusterId }: Reading): HostPlace => ({
  name: index < 0 ? HOST_NAME : name,
  clusterId,
});

/** Claims a cluster for a new store. Another claim, a mark or a timeline may win, so read the cluster again afterwards. */
async function claim(cluster: Shard, store: string, host: HostPlace): Promise<void> {
  const request = TxnRequest.encode({
    compare: [NOTHING_IN_RANGE, NO_BASE],
    success: [{ kind: "put", request: encodeClaim(store, host) }],
  });
  await cluster.call(KV.Txn, request, { idempotent: false });
}

/**
 * Marks a cluster that has no mark. Resolves to false if it has got a mark or a timeline in the meantime; then read it
 * again. `hasLog`: the cluster hosts the timeline, so the log must know the revision that the mark uses.
 */
export async function writeMark(
  cluster: Shard,
  { marks }: Reading,
  store: string,
  host: HostPlace,
  hasLog: boolean,
): Promise<boolean> {
  const mark = encodeMark({
    store,
    name: cluster.index < 0 ? HOST_NAME : cluster.name,
    index: cluster.index,
    host,
  });
  // A claim for this store excludes all other stores.
  const isClaimed = marks.claims.some((each) => each.store === store);
  const request = TxnRequest.encode({
    compare: [isClaimed ? { ...ABSENT, key: mark.key } : NOTHING_IN_RANGE, hasLog ? A_BASE : NO_BASE],
    success: [{ kind: "put", request: mark }, ...(hasLog ? [PUT_TAIL] : [])],
  });
  return TxnResponse.decode(await cluster.call(KV.Txn, request, { idempotent: false })).succeeded;
}

/** Changes the timeline host in a cluster's mark. Resolves to false if the mark already names it. `hasLog`: see `writeMark`. */
export async function changeHost(
  cluster: Shard,
  store: string,
  host: HostPlace,
  hasLog: boolean,
): Promise<boolean> {
  const key = markKey(store);
  for (;;) {
    const read = await cluster.call(KV.Range, RangeRequest.encode({ key }), { idempotent: true });
    const { kvs } = RangeResponse.decode(read);
    const [kv] = kvs;
    if (kv === undefined || decodeMarks(kvs).marks[0]?.host.clusterId === host.clusterId) return false;
    const { value, modRevision } = kv;
    const request = TxnRequest.encode({
      compare: [{ target: CompareTarget.MOD, result: CompareResult.EQUAL, key, modRevision }],
      success: [
        { kind: "put", request: { key, value: withHost(value, host) } },
        ...(hasLog ? [PUT_TAIL] : []),
      ],
    });
    const answer = TxnResponse.decode(await cluster.call(KV.Txn, request, { idempotent: false }));
    if (answer.succeeded) return true;
  }
}

/** Every change to the log puts the tail, so that the next append notices it. */
const PUT_TAIL = { kind: "put" as const, request: { key: TAIL_KEY, value: EMPTY } };
const ABSENT = { target: CompareTarget.CREATE, result: CompareResult.EQUAL, createRevision: 0 };
const NOTHING_IN_RANGE = { ...ABSENT, ...RANGE };
const NO_BASE = { ...ABSENT, key: BASE_KEY };
const A_BASE = { ...NO_BASE, result: CompareResult.GREATER };

/** The cluster with the lowest id: the same one for all proxies, in any order of shards. */
function withLowestId(clusters: readonly ConfiguredCluster[]): ConfiguredCluster {
  const idOf = ({ reading }: ConfiguredCluster) => BigInt(reading?.clusterId ?? 0);
  return clusters.reduce((lowest, each) => (idOf(each) < idOf(lowest) ? each : lowest));
}

function named<T>(cluster: Shard, read: () => T): T {
  try {
    return read();
  } catch (reason) {
    const { code, message } = StatusError.from(reason);
    throw new StatusError(code, `${describeShard(cluster)}: ${message}`);
  }
}
