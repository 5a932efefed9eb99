import type { Config } from "../../config/types.js";
import type { Log } from "../../ops/log.js";
import type { PlanShard } from "../../reshard/change.js";
import { parseMap } from "../../routing/fingerprint.js";
import type { ShardMap } from "../../routing/map.js";
import type { ShardClient } from "../../shard/client.js";
import { Code, StatusError } from "../../status/error.js";
import { type Base, decodeBaseHead } from "../../timeline/base.js";
import { EtcdHost } from "../../timeline/etcdHost.js";
import { isEntryKey } from "../../timeline/keys.js";
import { HOST_NAME, type HostPlace } from "../../timeline/mark.js";
import { findBase, recover } from "../../timeline/recover.js";
import type { StoreFold } from "../../timeline/storeFold.js";
import { storeIsMissing } from "./connect.js";
import { type ConfiguredCluster, type Reading, storeOf } from "./contradictions.js";
import { readCluster } from "./marks.js";
import { placeOfJoining } from "./places.js";
import { connectShards } from "./store.js";

/** A cluster of a configuration, and what was read from it. */
export interface SurveyedCluster extends ConfiguredCluster {
  readonly endpoints: readonly string[];
  /** The configuration that names it. */
  readonly config: Config;
  readonly client: ShardClient;
  /** Why it could not be read. */
  readonly error: StatusError | undefined;
  /** Newer than the timeline, unless the cluster has lost data. */
  reading: Reading | undefined;
}

/** A shard of the map in force, or of the other map of an active plan. */
export interface SurveyedShard {
  /** Index in the store. */
  readonly index: number;
  readonly name: string;
  /** Id of its etcd cluster, decimal. */
  readonly clusterId: string;
  /** As the store records them; empty for a store whose shards have never changed. */
  readonly endpoints: readonly string[];
  /** Undefined if neither a configuration nor the store has its addresses. */
  readonly cluster: SurveyedCluster | undefined;
}

/** The timeline, as its host holds it. */
export interface SurveyedTimeline {
  readonly base: Base;
  readonly fold: StoreFold;
  /** Number of entries in the log. */
  readonly entries: number;
  /** Index of the shard that is the timeline host, or -1. */
  readonly hostShard: number;
}

/** A store, read without changing anything. */
export interface Survey {
  /** The clusters of the configuration: its shards in their order, then the timeline host if it is not a shard. */
  readonly clusters: readonly SurveyedCluster[];
  /** The store's id; undefined for a store of an older version, without marks. */
  readonly id: string | undefined;
  /** The timeline host in force; undefined if no cluster that could be read knows it. */
  readonly host: HostPlace | undefined;
  /** The cluster of the timeline host; undefined if no configuration names it. */
  readonly hostCluster: SurveyedCluster | undefined;
  /** The timeline, or why it cannot be read. */
  readonly timeline: SurveyedTimeline | StatusError;
  /** The map in force; undefined while the timeline cannot be read. */
  readonly map: ShardMap | undefined;
  /** The shards of the map in force in its order, then those that only an active plan needs. */
  readonly shards: readonly SurveyedShard[];
  /** Reads the timeline again. Rejects if that fails, or if the store has another map or plan now. */
  reload(): Promise<SurveyedTimeline>;
  close(): void;
}

/**
 * Reads the clusters that `config` names, and the timeline and the map in force of their store. `current` is the
 * configuration in force, for clusters of the store that `config` does not name. Rejects if there is no store.
 */
export async function openSurvey(config: Config, current: Config | undefined, log: Log): Promise<Survey> {
  const closers: (() => void)[] = [];
  const close = () => {
    for (const each of closers) each();
  };
  try {
    const clusters = await readAll(config, log, closers);
    const currentClusters = current && (await readAll(current, log, closers));
    const known = [...clusters, ...(currentClusters ?? [])];
    const own = currentClusters ?? clusters;
    const id = storeOf(own, hostIndexOf(current ?? config));
    const marked = findHost(known, id, hostOf(own, hostIndexOf(current ?? config)));
    const found = followMoves(marked, known);
    const timeline = await readTimeline(found, id).catch((reason) => StatusError.from(reason));
    if (timeline instanceof StatusError && timeline.code === Code.FAILED_PRECONDITION && id === undefined) {
      throw known.find(({ error }) => error !== undefined)?.error ?? timeline;
    }
    const placement = timeline instanceof StatusError ? undefined : timeline.fold.placement.snapshot();
    const shards =
      timeline instanceof StatusError ? [] : await findShards(timeline, known, { config, log, closers });
    if (!(timeline instanceof StatusError)) await catchUp(shards, timeline.fold);
    return {
      clusters,
      id,
      host: found.host,
      hostCluster: found.cluster,
      timeline,
      map: placement && parseMap(placement.inForce),
      shards,
      reload: async () => {
        const again = await readTimeline(found, id);
        const { inForce, plan } = again.fold.placement.snapshot();
        if (inForce === placement?.inForce && plan?.number === placement.plan?.number) return again;
        throw new StatusError(
          Code.ABORTED,
          "the shard map of the store has changed meanwhile: run this again",
        );
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Reads shards again that seem to lack sealed revisions, because they were read before the timeline. */
async function catchUp(shards: readonly SurveyedShard[], fold: StoreFold): Promise<void> {
  for (const { index, cluster } of shards) {
    if (cluster?.reading !== undefined && cluster.reading.revision < fold.cut(index))
      cluster.reading = await readCluster(cluster.client);
  }
}

/** Reads all clusters of a configuration, or one of its shards. */
async function readAll(
  config: Config,
  log: Log,
  closers: (() => void)[],
  only?: number,
): Promise<SurveyedCluster[]> {
  const { shards, host, close } = await connectShards(config, log);
  closers.push(close);
  const all = [...new Set([...shards, host])];
  const dedicated = config.timeline.kind === "dedicated" ? config.timeline.endpoints : [];
  return Promise.all(
    (only === undefined ? all : all.filter(({ index }) => index === only)).map(
      async (client): Promise<SurveyedCluster> => {
        const { index, name } = client;
        const endpoints = config.shards[index]?.endpoints ?? dedicated;
        const [reading, error] = await readCluster(client).then(
          (read): [Reading, undefined] => [read, undefined],
          (reason): [undefined, StatusError] => [undefined, StatusError.from(reason)],
        );
        return { index, name, endpoints, config, client, reading, error };
      },
    ),
  );
}

const hostIndexOf = ({ timeline }: Config): number => (timeline.kind === "shard" ? timeline.shard : -1);

const hostOf = (clusters: readonly SurveyedCluster[], host: number): SurveyedCluster | undefined =>
  clusters.find(({ index }) => index === host);

interface FoundHost {
  readonly host: HostPlace | undefined;
  readonly cluster: SurveyedCluster | undefined;
}

/** The timeline host that the marks name. Without marks, it is the configured one. */
function findHost(
  known: readonly SurveyedCluster[],
  store: string | undefined,
  configured: SurveyedCluster | undefined,
): FoundHost {
  const records = known.flatMap(({ reading }) => [
    ...(reading?.marks.marks ?? []),
    ...(reading?.marks.claims ?? []),
  ]);
  const host = records.find((each) => each.store === store)?.host;
  if (host !== undefined) {
    const cluster =
      known.find(({ reading }) => reading?.clusterId === host.clusterId) ??
      known.find(({ error, name }) => error !== undefined && name === host.name);
    return { host, cluster };
  }
  const clusterId = configured?.reading?.clusterId;
  if (configured === undefined || clusterId === undefined) return { host: undefined, cluster: configured };
  return { host: { name: configured.name, clusterId }, cluster: configured };
}

/** The host to which the log has moved from `found`, if the marks do not name it yet. */
function followMoves(found: FoundHost, known: readonly SurveyedCluster[]): FoundHost {
  const passed = new Set<SurveyedCluster>();
  let at = found;
  // The clusters were not read at the same moment, so a move back can look like a circle.
  while (at.cluster?.reading?.base !== undefined && !passed.has(at.cluster)) {
    passed.add(at.cluster);
    const { next } = decodeBaseHead(at.cluster.reading.base);
    if (next === undefined) break;
    const cluster = known.find(({ reading }) => reading?.clusterId === next.clusterId);
    at = { host: { name: next.name, clusterId: next.clusterId }, cluster };
  }
  return at;
}

interface Opening {
  readonly config: Config;
  readonly log: Log;
  readonly closers: (() => void)[];
}

async function findShards(
  { base, fold }: SurveyedTimeline,
  known: readonly SurveyedCluster[],
  opening: Opening,
): Promise<SurveyedShard[]> {
  const { shards, inForce, plan } = fold.placement.snapshot();
  const maps = plan === undefined ? [inForce] : [inForce, plan.below, plan.above];
  const names = new Set(maps.flatMap((text) => parseMap(text).shards.map(({ name }) => name)));
  return Promise.all(
    [...names].map(async (name) => {
      // A cluster that was replaced may have had the name before.
      const index = shards.findLastIndex((shard) => shard.name === name);
      const shard = shards[index];
      if (shard === undefined) throw new RangeError(`the store has no shard "${name}"`);
      const { endpoints } = shard;
      // `braid adopt` changes the id in the base.
      const clusterId = base.clusterIds[index] ?? shard.clusterId;
      const found = findShard(known, name, clusterId);
      const cluster = found ?? (endpoints.length > 0 ? await readMissing(shard, opening) : undefined);
      return { index, name, clusterId, endpoints, cluster };
    }),
  );
}

/** The cluster of a shard. One that cannot be read may be it, if it has the name. */
function findShard(
  known: readonly SurveyedCluster[],
  name: string,
  clusterId: string,
): SurveyedCluster | undefined {
  const shards = known.filter(({ index }) => index >= 0);
  const isIt = ({ reading }: SurveyedCluster) => reading?.clusterId === clusterId;
  return (
    shards.find(isIt) ??
    known.find(isIt) ??
    shards.find((each) => each.name === name && each.error !== undefined)
  );
}

/** Reads a shard that only the store knows. */
async function readMissing(
  shard: PlanShard,
  { config, log, closers }: Opening,
): Promise<SurveyedCluster | undefined> {
  const added = { ...placeOfJoining(shard, config), weight: 1 };
  const extended = { ...config, shards: [...config.shards, added] };
  const clusters = await readAll(extended, log, closers, config.shards.length);
  return clusters[0];
}

async function readTimeline(
  { host, cluster }: FoundHost,
  store: string | undefined,
): Promise<SurveyedTimeline> {
  if (cluster === undefined) {
    const place = host?.name === HOST_NAME ? "a cluster that is not a shard" : `shard "${host?.name}"`;
    throw new StatusError(
      Code.NOT_FOUND,
      `the timeline of this store is on ${place} (etcd cluster ${host?.clusterId}), which the file does not name`,
    );
  }
  if (cluster.error !== undefined) throw cluster.error;
  const { keys, revision } = await new EtcdHost(cluster.client).load();
  const base = findBase(keys);
  if (base === undefined) throw storeIsMissing();
  const mark = cluster.reading?.marks.marks.find((each) => each.store === store);
  // A store of an older version has no marks; its shards are those of its first map.
  const unmarked = () =>
    parseMap(decodeBaseHead(base.value).map).shards.findIndex(({ name }) => name === host?.name);
  const hostShard = mark?.index ?? unmarked();
  const { base: decoded, fold } = recover(base, keys, hostShard, revision);
  return { base: decoded, fold, entries: keys.filter(({ key }) => isEntryKey(key)).length, hostShard };
}
