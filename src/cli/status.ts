import { readRecords } from "../app/reshard/planStore.js";
import { subjectOf } from "../app/store/contradictions.js";
import { countKeys, visitKeys } from "../app/store/keys.js";
import { openSurvey, type Survey, type SurveyedCluster, type SurveyedTimeline } from "../app/store/survey.js";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import { readGen } from "../reshard/gen.js";
import { type PlanProgress, progressOf } from "../reshard/progress.js";
import { printable } from "../routing/bytes.js";
import { createRouter, type Explain } from "../routing/create.js";
import { areAlike, fingerprint } from "../routing/fingerprint.js";
import { type RoutingRule, rulesInForce } from "../routing/map.js";
import { describeShard } from "../shard/name.js";
import type { Shard } from "../shard/shard.js";
import { StatusError, withDetail } from "../status/error.js";
import { markKey } from "../timeline/keys.js";
import { HOST_NAME } from "../timeline/mark.js";
import { RangeRequest, RangeResponse } from "../wire/messages.js";
import { KV } from "../wire/paths.js";
import { CommandError, Exit } from "./exit.js";
import { rejectAsFailure } from "./planBuild.js";
import { isNeeded, type RemovedReport, reportRemoved } from "./planEnding.js";
import { type Probe, probeCluster, quotaOf, stateOf } from "./probes.js";
import { reportProgress } from "./progress.js";
import type { ClusterStatus, StatusReport } from "./statusReport.js";
import { formatStatus } from "./statusText.js";
import { describeUserProblem } from "./users.js";

export interface StatusOptions {
  readonly config: string;
  readonly groups: boolean;
  readonly json: boolean;
}

/** `braid status`: shows a store and its shards. */
export async function status(options: StatusOptions): Promise<number> {
  const config = loadConfig(options.config);
  const survey = await openSurvey(config, undefined, createLog("silent")).catch((reason) => {
    throw new CommandError(Exit.failure, describeUserProblem(reason) ?? withDetail(reason));
  });
  let report: StatusReport;
  try {
    report = await reportOf(survey, config, options.groups);
  } finally {
    survey.close();
  }
  const text = options.json ? JSON.stringify(report, undefined, 2) : formatStatus(report, options.config);
  process.stdout.write(`${text}\n`);
  return report.clusters.some(({ error }) => error !== null) ? Exit.failure : Exit.ok;
}

async function reportOf(survey: Survey, config: Config, withGroups: boolean): Promise<StatusReport> {
  const { id, host, map } = survey;
  const timeline = survey.timeline instanceof StatusError ? undefined : survey.timeline;
  const router = withGroups && map !== undefined ? await createRouter(map) : undefined;
  return {
    store: id ?? null,
    revision: timeline?.fold.head ?? null,
    compactRevision: timeline?.fold.compactRevision ?? null,
    timeline: {
      shard: host === undefined || host.name === HOST_NAME ? null : host.name,
      clusterId: host?.clusterId ?? null,
      entries: timeline?.entries ?? null,
    },
    plan: timeline === undefined ? null : await planStatus(survey, timeline),
    removed: timeline === undefined ? [] : removedFrom(timeline),
    rules: map === undefined ? null : rulesInForce(map).map(ruleStatus),
    clusters: await Promise.all(
      listed(survey, timeline, config).map((cluster) => statusOf(cluster, id, router)),
    ),
    isFileInForce: timeline === undefined ? null : await isInForce(survey, timeline, config),
  };
}

async function planStatus({ hostCluster }: Survey, { fold }: SurveyedTimeline): Promise<PlanProgress | null> {
  const { plan } = fold.placement.snapshot();
  if (plan === undefined || hostCluster === undefined) return null;
  return progressOf(plan, await readRecords(hostCluster.client).catch(rejectAsFailure));
}

const removedFrom = ({ fold }: SurveyedTimeline): RemovedReport[] =>
  reportRemoved({ placement: fold.placement.snapshot() }).filter(isNeeded);

const ruleStatus = ({ prefix, delimiter, segments, shard }: RoutingRule) => ({
  prefix: printable(prefix),
  delimiter: printable(Uint8Array.of(delimiter)),
  segments,
  shard: shard ?? null,
});

async function isInForce(
  { clusters, host }: Survey,
  { base, fold }: SurveyedTimeline,
  config: Config,
): Promise<boolean> {
  const hostIndex = config.timeline.kind === "shard" ? config.timeline.shard : -1;
  const hostReading = clusters.find(({ index }) => index === hostIndex)?.reading;
  const hasHost = hostReading === undefined || hostReading.clusterId === host?.clusterId;
  const { inForce } = fold.placement.snapshot();
  const { text } = await fingerprint(config.map);
  // From format 2 on, the order of the shards has no meaning.
  return hasHost && (base.format < 2 ? inForce === text : areAlike(inForce, text));
}

/** A cluster to show. */
interface Listed {
  readonly name: string;
  readonly weight: number | null;
  /** Decimal. */
  readonly clusterId: string | undefined;
  /** The shard revision that the timeline has reached. */
  readonly cut: number | undefined;
  /** Undefined if the file does not name it. */
  readonly cluster: SurveyedCluster | undefined;
}

const UNKNOWN = { weight: null, clusterId: undefined, cut: undefined } as const;

/** The shards in force. While the timeline cannot be read, those of the file. */
function listed(survey: Survey, timeline: SurveyedTimeline | undefined, config: Config): Listed[] {
  const { map, clusters, shards, host, hostCluster } = survey;
  const weights = new Map((map ?? config.map).shards.map(({ name, weight }) => [name, weight]));
  const weightOf = (name: string) => weights.get(name) ?? null;
  const list: Listed[] =
    timeline === undefined
      ? clusters
          .filter(({ index }) => index >= 0)
          .map((cluster) => ({ ...UNKNOWN, name: cluster.name, weight: weightOf(cluster.name), cluster }))
      : shards.map(({ index, name, clusterId, cluster }) => {
          return { name, weight: weightOf(name), clusterId, cut: timeline.fold.cut(index), cluster };
        });
  const isDedicated = host === undefined ? config.timeline.kind === "dedicated" : host.name === HOST_NAME;
  if (isDedicated)
    list.push({ ...UNKNOWN, name: HOST_NAME, clusterId: host?.clusterId, cluster: hostCluster });
  return list;
}

async function statusOf(
  { name, weight, clusterId, cut, cluster }: Listed,
  store: string | undefined,
  router: Explain | undefined,
): Promise<ClusterStatus> {
  const unread = { keys: null, groups: null, generation: null };
  if (cluster === undefined) {
    const error = "the file does not have its addresses";
    return {
      name,
      weight,
      clusterId: clusterId ?? null,
      error,
      endpoints: [],
      size: null,
      quota: null,
      revision: null,
      ...unread,
    };
  }
  const { client, reading, endpoints, index, config } = cluster;
  const probes = await probeCluster({ name: subjectOf(index, config), endpoints, index }, config);
  const sizes = probes.flatMap(({ answer }) => answer?.dbSize ?? []);
  const known = {
    name,
    weight,
    clusterId: reading?.clusterId ?? clusterId ?? null,
    endpoints: probes.map(endpointStatus),
    size: sizes.length === 0 ? null : Math.max(...sizes),
    quota: quotaOf(probes) ?? null,
    revision: reading?.revision ?? null,
  };
  try {
    if (cluster.error !== undefined) throw cluster.error;
    return { ...known, error: null, ...(await contentOf(client, cut, store, router)) };
  } catch (reason) {
    const error = describeUserProblem(reason) ?? withDetail(reason).replace(`${describeShard(client)}: `, "");
    return { ...known, error, ...unread };
  }
}

/** Reads what a cluster holds. `cut` is undefined for one that holds no keys of clients. */
async function contentOf(
  shard: Shard,
  cut: number | undefined,
  store: string | undefined,
  router: Explain | undefined,
): Promise<Pick<ClusterStatus, "keys" | "groups" | "generation">> {
  const generation = store === undefined ? null : await readGeneration(shard, store);
  if (cut === undefined) return { keys: null, groups: null, generation };
  const keys = await countKeys(shard, cut);
  return {
    keys,
    groups: router === undefined ? null : await countGroups(shard, cut, keys, router),
    generation,
  };
}

async function readGeneration(shard: Shard, store: string): Promise<number | null> {
  const request = RangeRequest.encode({ key: markKey(store) });
  const [mark] = RangeResponse.decode(await shard.call(KV.Range, request, { idempotent: true })).kvs;
  return mark === undefined ? null : readGen(mark.value);
}

async function countGroups(shard: Shard, revision: number, keys: number, router: Explain): Promise<number> {
  const groups = new Set<string>();
  const progress = reportProgress(`keys of shard ${shard.name}`);
  let read = 0;
  await visitKeys([{ shard, revision }], (key) => {
    groups.add(Buffer.from(router.explain(key).group).toString("latin1"));
    progress(++read, keys);
  });
  return groups.size;
}

const endpointStatus = (probe: Probe): ClusterStatus["endpoints"][number] => ({
  endpoint: probe.endpoint,
  state: stateOf(probe),
  version: probe.answer?.version ?? null,
  size: probe.answer?.dbSize ?? null,
  quota: probe.answer?.quota ?? null,
  errors: probe.answer?.errors ?? (probe.error === undefined ? [] : [probe.error]),
});
