import type { Config } from "../../config/types.js";
import type { Log } from "../../ops/log.js";
import { readGen } from "../../reshard/gen.js";
import type { PlacementState } from "../../reshard/placement.js";
import type { ShardClient } from "../../shard/client.js";
import type { Recognition } from "../../shard/guard.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import type { ShardSet } from "../../shard/shardSet.js";
import { Code, StatusError, withDetail } from "../../status/error.js";
import { type Base, decodeBaseHead } from "../../timeline/base.js";
import { EtcdHost } from "../../timeline/etcdHost.js";
import { BASE_KEY, MARKS_BEGIN, MARKS_END, markKey, TAIL_KEY } from "../../timeline/keys.js";
import {
  decodeMarks,
  encodeClaim,
  encodeMark,
  HOST_NAME,
  type HostPlace,
  type Mark,
  newStoreId,
  withPlace,
} from "../../timeline/mark.js";
import { findBase, recover } from "../../timeline/recover.js";
import type { SharedTimeline } from "../../timeline/timeline.js";
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
  type Indices,
  indicesOf,
  judgeMarks,
  type Reading,
  storeOf,
  unmarked,
} from "./contradictions.js";
import { findMisplacedKeys, isUnmade } from "./placement.js";

/** The clusters of a configuration. The index of each shard is its place in the file. */
export interface Clusters {
  readonly config: Config;
  /** The shard map's canonical text. */
  readonly map: string;
  /** The shards in their order, then the timeline host if it is not a shard, as of now. */
  readonly all: readonly ShardClient[];
  readonly host: ShardClient;
}

/** A store whose clusters have been checked, and marked if they had no marks. */
export interface MarkedStore {
  /** Undefined for a store of an older version if its host is out of space, and so cannot take a mark. */
  readonly id: string | undefined;
  readonly clusters: readonly ConfiguredCluster[];
  readonly host: HostPlace;
  /** The indices of the shards in the store. */
  readonly indices: Indices;
  /** Why clusters could not be read, by place in the file. */
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
    const { clusters, unreachable } = await readClusters(store);
    const head = headOf(store, clusters);
    let names = head?.placement?.shards;
    let contradictions = findContradictions(store.config, store.map, clusters);
    if (contradictions.length > 0 && head?.placement !== undefined) {
      // The base may be older than a plan.
      const placement = await readPlacement(store, head);
      names = placement.shards.map(({ name }) => name);
      contradictions = findContradictions(store.config, store.map, clusters, placement);
    }
    const read = { clusters, unreachable, head, indices: indicesOf(store.config, names) };
    // The clusters are not read at the same moment, and another proxy may be creating the store. So a contradiction counts
    // only if a second read shows it too.
    const found = JSON.stringify(contradictions);
    if (contradictions.length === 0 && isUnmade(clusters)) {
      return { ...read, contradictions: await findMisplacedKeys(store.config, store.all, clusters) };
    }
    if (contradictions.length === 0 || found === before) return { ...read, contradictions };
    before = found;
  }
}

function headOf({ host }: Clusters, clusters: readonly ConfiguredCluster[]): Base | undefined {
  const base = clusters.find(({ index }) => index === host.index)?.reading?.base;
  return base && decodeBaseHead(base);
}

/** Reads the placement of a store with a base of format 2 from the log. */
async function readPlacement({ config, host }: Clusters, head: Base): Promise<PlacementState> {
  const { keys, revision } = await new EtcdHost(host).load();
  const base = findBase(keys);
  if (base === undefined) throw new StatusError(Code.DATA_LOSS, "the timeline host has lost its log");
  const hostShard = host.index < 0 ? -1 : indicesOf(config, head.placement?.shards)[host.index];
  return recover(base, keys, hostShard ?? -1, revision).fold.store.placement;
}

/** Throws FAILED_PRECONDITION for the base of a cluster from which the timeline has moved: a lock there excludes nobody. */
export function refuseFormerHost(base: Base | undefined): void {
  if (base?.next === undefined) return;
  const { shard, name, clusterId } = base.next;
  const place = shard < 0 ? "a cluster that is not a shard" : `shard "${name}"`;
  const text = `the timeline has moved to ${place} (etcd cluster ${clusterId}): use the file that names it`;
  throw new StatusError(Code.FAILED_PRECONDITION, text);
}

interface Inspection extends Pick<MarkedStore, "clusters" | "indices" | "unreachable"> {
  readonly contradictions: readonly Contradiction[];
  /** The head of the newest base on the configured host. */
  readonly head: Base | undefined;
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
    const { clusters, indices, unreachable, contradictions, head } = await inspectClusters(store);
    if (contradictions.length > 0) throw new ContradictionError(contradictions, config);
    const reading = clusters.find(({ index }) => index === host.index)?.reading;
    if (reading === undefined) throw unreachable.get(host.index);
    const isNew = reading.base === undefined;
    for (const error of unreachable.values()) if (isNew) throw error;
    const place = placeOf(host, reading);
    const known = storeOf(clusters, host.index);
    const id = known ?? newStoreId();
    // Once all shards are marked, only `braid adopt` marks clusters.
    const rest =
      head?.store !== undefined
        ? []
        : clusters.filter((each) => each.reading?.marks.marks.length === 0 && !failed.has(each.index));
    const clientOf = (index: number) => all.find((each) => each.index === index) as ShardClient;
    if (known === undefined && isNew) {
      await claim(clientOf(withLowestId(clusters).index), id, place);
      continue;
    }
    const isHostMarked = rest.every(({ index }) => index !== host.index);
    if (isHostMarked && rest.length === 0) return { id, clusters, host: place, indices, unreachable };
    const next = isHostMarked ? rest : rest.filter(({ index }) => index === host.index);
    const position = head?.placement === undefined ? 0 : (await readPlacement(store, head)).position;
    const results = await Promise.allSettled(
      next.map(({ index, reading }) => {
        const hasLog = !isNew && index === host.index;
        return writeMark(clientOf(index), reading as Reading, id, place, hasLog, indices[index], position);
      }),
    );
    for (const [i, { index, name }] of next.entries()) {
      const result = results[i]!;
      if (result.status === "fulfilled") continue;
      const error = StatusError.from(result.reason);
      // A store that is already in use works without this mark.
      const isHost = index === host.index;
      if (isNew || (isHost && error.code !== Code.RESOURCE_EXHAUSTED)) throw error;
      log.warn({ cluster: name, error: withDetail(error) }, "the cluster could not be marked as the store's");
      if (isHost) return { id: known, clusters, host: place, indices, unreachable };
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
  timeline: SharedTimeline,
  log: Log,
): Recognition {
  const { id, host, config, clients } = store;
  const place = config.shards.findIndex(({ name }) => name === shard.name);
  const judge = async (response: Uint8Array): Promise<StatusError | undefined> => {
    const { header, kvs } = RangeResponse.decode(response);
    const clusterId = String(header?.clusterId);
    const marks = named(shard, () => decodeMarks(kvs));
    // While the host is out of space, the store has no marks.
    if (id === undefined) return undefined;
    const names = clients.all().map(({ name }) => name);
    const configured = { index: place < 0 ? shard.index : place, name: shard.name };
    const wrong = judgeMarks(configured, shard.index, clusterId, marks, id, names);
    if (wrong !== undefined) {
      // The error of a shard that joins is logged there.
      if (place >= 0) {
        log.error(
          { setting: wrong.path.join("."), error: describeContradiction(wrong, config) },
          "shard refused",
        );
      }
      return new StatusError(Code.FAILED_PRECONDITION, wrong.message);
    }
    const [mark] = marks.marks;
    // A log that has moved knows itself where it is. Marks may name a host from before.
    const isMoved = () => timeline.log.base.format === 3;
    if (mark !== undefined && mark.host.clusterId !== host.clusterId && !isMoved()) await timeline.sync();
    if (mark !== undefined && mark.host.clusterId !== host.clusterId && !isMoved()) {
      const text = `the timeline is now on the etcd cluster ${mark.host.clusterId}, but this proxy uses ${host.clusterId}`;
      return new StatusError(Code.FAILED_PRECONDITION, `${describeShard(shard)}: ${text}: restart the proxy`);
    }
    if (mark !== undefined) return undefined;
    if (timeline.log.base.store !== undefined) {
      return new StatusError(Code.DATA_LOSS, `${describeShard(shard)}: ${unmarked(clusterId, shard.name)}`);
    }
    // A store of an older version; the shard was down when this proxy started.
    const reading = await readCluster(shard);
    const { placementPosition } = timeline;
    const writing = writeMark(shard, reading, id, host, false, shard.index, placementPosition);
    const isWritten = await writing.catch((reason) => {
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
 * Marks a cluster that has no mark, as the shard with this index. Resolves to false if it has got a mark or a timeline in the
 * meantime; then read it again. `hasLog`: the cluster hosts the timeline, so the log must know the revision that the mark uses.
 * gen begins at `position`, that of the newest change of the placement: nobody who has missed it may write there.
 */
export async function writeMark(
  cluster: Shard,
  { marks }: Reading,
  store: string,
  host: HostPlace,
  hasLog: boolean,
  index = cluster.index,
  position = 0,
): Promise<boolean> {
  const mark = encodeMark({ store, name: index < 0 ? HOST_NAME : cluster.name, index, host }, position);
  // A claim for this store excludes all other stores.
  const isClaimed = marks.claims.some((each) => each.store === store);
  const request = TxnRequest.encode({
    compare: [isClaimed ? { ...ABSENT, key: mark.key } : NOTHING_IN_RANGE, hasLog ? A_BASE : NO_BASE],
    success: [{ kind: "put", request: mark }, ...(hasLog && position === 0 ? [PUT_TAIL] : [])],
  });
  return TxnResponse.decode(await cluster.call(KV.Txn, request, { idempotent: false })).succeeded;
}

/** Changes the timeline host in a cluster's mark. Resolves to false if the mark already names it. `hasLog`: see `writeMark`. */
export function changeHost(
  cluster: Shard,
  store: string,
  host: HostPlace,
  hasLog: boolean,
): Promise<boolean> {
  const isSame = (mark: Mark | undefined) => mark === undefined || mark.host.clusterId === host.clusterId;
  return changeMark(cluster, store, isSame, { host }, hasLog);
}

/**
 * Changes index and timeline host in the mark of a cluster that is not the timeline host. Resolves to false if the mark already
 * has them.
 */
export function changePlace(cluster: Shard, store: string, index: number, host: HostPlace): Promise<boolean> {
  const isSame = (mark: Mark | undefined) =>
    mark === undefined || (mark.index === index && mark.host.clusterId === host.clusterId);
  return changeMark(cluster, store, isSame, { index, host }, false);
}

async function changeMark(
  cluster: Shard,
  store: string,
  isSame: (mark: Mark | undefined) => boolean,
  place: Partial<Pick<Mark, "host" | "index">>,
  hasLog: boolean,
): Promise<boolean> {
  const key = markKey(store);
  for (;;) {
    const read = await cluster.call(KV.Range, RangeRequest.encode({ key }), { idempotent: true });
    const { kvs } = RangeResponse.decode(read);
    const [kv] = kvs;
    if (kv === undefined || isSame(decodeMarks(kvs).marks[0])) return false;
    const { value, modRevision } = kv;
    const request = TxnRequest.encode({
      compare: [{ target: CompareTarget.MOD, result: CompareResult.EQUAL, key, modRevision }],
      success: [
        { kind: "put", request: { key, value: withPlace(value, place) } },
        ...(hasLog && readGen(value) === 0 ? [PUT_TAIL] : []),
      ],
    });
    const answer = TxnResponse.decode(await cluster.call(KV.Txn, request, { idempotent: false }));
    if (answer.succeeded) return true;
  }
}

/**
 * Every change to the log puts the tail, so that the next append notices it. A mark with gen above zero is no change to the log: its
 * revision gets its place in the timeline like any other.
 */
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
