import {
  type Contradiction,
  endpointsPath,
  findSameClusters,
  judgeIdentity,
  lostData,
  otherCluster,
  subjectOf,
  unmarked,
} from "../app/store/contradictions.js";
import type { Survey, SurveyedCluster, SurveyedShard, SurveyedTimeline } from "../app/store/survey.js";
import type { Config } from "../config/types.js";
import type { PlanShard } from "../reshard/change.js";
import type { PlacedMap } from "../reshard/difference.js";
import { MAX_INDICES } from "../reshard/placement.js";
import { compareMaps, inOrderOf } from "../routing/fingerprint.js";
import type { ShardMap } from "../routing/map.js";
import { describeShard } from "../shard/name.js";
import { withDetail } from "../status/error.js";
import { decodeBaseHead } from "../timeline/base.js";
import { HOST_NAME } from "../timeline/mark.js";
import { describeUserProblem } from "./users.js";

/** One difference between the store and the file. */
export interface PlanChange {
  readonly of: "shards" | "endpoints" | "weight" | "rule" | "timeline";
  readonly message: string;
}

/** A cluster of the store, before or after the change. */
export interface PlanCluster {
  /** Name of the shard. */
  readonly name: string;
  readonly state: "kept" | "new" | "removed";
}

/** What a file changes in a store. */
export interface PlanTarget {
  /** The shards in force in their order, then the new clusters. */
  readonly clusters: readonly PlanCluster[];
  /** The map in force. */
  readonly from: PlacedMap;
  /** The map of the file. */
  readonly to: PlacedMap;
  readonly changes: readonly PlanChange[];
  readonly problems: readonly Contradiction[];
  /** The new shards that could be read and do not belong to anything else. */
  readonly newShards: readonly SurveyedCluster[];
  /** The cluster that becomes the timeline host; undefined if the host stays where it is. */
  readonly host: SurveyedCluster | undefined;
}

/** Compares a store with a file. Pure. `map` is the map in force. */
export function compareWithStore(
  survey: Survey,
  timeline: SurveyedTimeline,
  map: ShardMap,
  config: Config,
): PlanTarget {
  return new Comparison(survey, timeline, map, config).run();
}

class Comparison {
  private readonly changes: PlanChange[] = [];
  private readonly problems: Contradiction[] = [];
  private readonly newShards: SurveyedCluster[] = [];
  private newHost: SurveyedCluster | undefined;
  private readonly clusters: PlanCluster[];
  /** Names of the file's shards. */
  private readonly names: readonly string[];

  constructor(
    private readonly survey: Survey,
    private readonly timeline: SurveyedTimeline,
    private readonly map: ShardMap,
    private readonly config: Config,
  ) {
    this.names = config.shards.map(({ name }) => name);
    this.clusters = survey.shards.map(({ name }) => ({
      name,
      state: this.names.includes(name) ? "kept" : "removed",
    }));
  }

  run(): PlanTarget {
    const { survey, config, map } = this;
    // From format 2 on, the order of the shards has no meaning.
    const own = this.timeline.base.format < 2 ? config.map : inOrderOf(config.map, map);
    for (const difference of compareMaps(map, own)) {
      this.changes.push({ of: difference.of, message: difference.message });
    }
    this.problems.push(...findSameClusters(survey.clusters, config));
    const to = survey.clusters.filter(({ index }) => index >= 0).map((cluster) => this.placeOf(cluster));
    const host = survey.clusters.find(({ index }) => index < 0);
    if (host !== undefined && this.isUsable(host)) this.checkHost(host);
    this.compareHosts();
    this.checkRemoved();
    return {
      clusters: this.clusters,
      from: { map, clusters: map.shards.map((_, place) => place) },
      to: { map: config.map, clusters: to },
      changes: this.changes,
      problems: this.problems,
      newShards: this.newShards,
      host: this.newHost,
    };
  }

  private addProblem({ index }: SurveyedCluster, text: string): void {
    const message = `${subjectOf(index, this.config)}: ${text}`;
    this.problems.push({ path: endpointsPath(index), cluster: index, message });
  }

  /** False if the cluster cannot be read, or belongs to something else. */
  private isUsable(cluster: SurveyedCluster): boolean {
    const { index, reading, error } = cluster;
    if (this.problems.some((problem) => problem.cluster === index)) return false;
    if (reading === undefined) {
      this.addProblem(cluster, describeError(error, cluster));
      return false;
    }
    const wrong = judgeIdentity(cluster, reading.clusterId, reading.marks, this.survey.id, this.names);
    if (wrong !== undefined) this.problems.push(wrong);
    return wrong === undefined;
  }

  /** Returns the place in `clusters` of a shard of the file. One that is not usable counts as unchanged. */
  private placeOf(cluster: SurveyedCluster): number {
    const { name, reading } = cluster;
    const place = this.survey.shards.findIndex((each) => each.name === name);
    const shard = this.survey.shards[place];
    const isUsable = this.isUsable(cluster);
    if (shard === undefined) return this.addNew(cluster, isUsable);
    if (!isUsable || reading === undefined) return place;
    if (shard.clusterId === "" || reading.clusterId === shard.clusterId) {
      this.checkKept(cluster, shard);
      return place;
    }
    const { marks } = reading.marks;
    const text =
      marks.length > 0
        ? otherCluster(name, reading.clusterId, shard.clusterId)
        : nameTaken(reading.clusterId, shard.clusterId);
    this.addProblem(cluster, text);
    return place;
  }

  private addNew(cluster: SurveyedCluster, isUsable: boolean): number {
    if (isUsable && this.isNameFree(cluster)) this.newShards.push(cluster);
    return this.clusters.push({ name: cluster.name, state: "new" }) - 1;
  }

  /** The log refers to shards by index and maps by name, so a name belongs to one cluster, and a cluster has one name. */
  private isNameFree(cluster: SurveyedCluster): boolean {
    const { shards } = this.timeline.fold.placement.snapshot();
    const id = cluster.reading?.clusterId ?? "";
    const namesake = shards.find(({ name }) => name === cluster.name);
    const same = shards.find(({ clusterId }) => clusterId === id);
    if (namesake !== undefined && namesake.clusterId !== "" && namesake.clusterId !== id) {
      this.addProblem(cluster, nameTaken(id, namesake.clusterId));
      return false;
    }
    if (same !== undefined && same.name !== cluster.name) {
      this.addProblem(
        cluster,
        `the etcd cluster ${id} was shard "${same.name}" of this store: use this name`,
      );
      return false;
    }
    return same === undefined ? this.hasIndex(cluster) : this.hasKeptData(cluster, same);
  }

  /** True if there is an index left for a shard that the store has never had. */
  private hasIndex(cluster: SurveyedCluster): boolean {
    const { shards } = this.timeline.fold.placement.snapshot();
    const isFresh = ({ reading }: SurveyedCluster) =>
      shards.every(({ clusterId }) => clusterId !== reading?.clusterId);
    if (shards.length + this.newShards.filter(isFresh).length < MAX_INDICES) return true;
    this.addProblem(
      cluster,
      `a store can have ${MAX_INDICES} shards over time, those that it has given up included: use one of these again`,
    );
    return false;
  }

  /**
   * A cluster that is made anew with the same addresses and token has the id of the one before. The timeline has revisions of that,
   * so proxies would refuse it, and the plan could neither end nor turn back.
   */
  private hasKeptData(cluster: SurveyedCluster, { index, name, clusterId }: PlanShard): boolean {
    const sealed = this.timeline.fold.cut(index);
    const revision = cluster.reading?.revision ?? 0;
    if (revision >= sealed) return true;
    this.addProblem(
      cluster,
      `the etcd cluster ${clusterId} is at revision ${revision}, below ${sealed} that it had as shard "${name}" of this ` +
        "store: it has lost its data since; begin with another --initial-cluster-token, and give the shard another name",
    );
    return false;
  }

  private checkKept(cluster: SurveyedCluster, { name, index, endpoints }: SurveyedShard): void {
    const { reading } = cluster;
    if (reading === undefined) return;
    const [is, was] = [cluster.endpoints, endpoints].map((list) => [...list].sort().join(", "));
    if (endpoints.length > 0 && is !== was)
      this.changes.push({
        of: "endpoints",
        message: `shard ${name} has the endpoints ${is} instead of ${was}`,
      });
    const { base, fold } = this.timeline;
    const sealed = fold.cut(index);
    if (base.store !== undefined && reading.marks.marks.length === 0) {
      this.addProblem(cluster, unmarked(reading.clusterId, name));
    } else if (reading.revision < sealed) {
      this.addProblem(cluster, lostData(reading, sealed));
    }
  }

  /** Checks a timeline host that is not a shard. */
  private checkHost(cluster: SurveyedCluster): void {
    const { reading } = cluster;
    if (reading?.base === undefined || reading.clusterId === this.survey.host?.clusterId) return;
    // It was the host before.
    if (decodeBaseHead(reading.base).next !== undefined) return;
    this.addProblem(cluster, `the etcd cluster ${reading.clusterId} holds another timeline`);
  }

  private compareHosts(): void {
    const { host } = this.survey;
    const { timeline, shards } = this.config;
    const index = timeline.kind === "shard" ? timeline.shard : -1;
    const name = shards[index]?.name ?? HOST_NAME;
    const cluster = this.survey.clusters.find((each) => each.index === index);
    const reading = cluster?.reading;
    const isSame = reading === undefined ? host?.name === name : host?.clusterId === reading.clusterId;
    if (host === undefined || isSame) return;
    const describe = (place: string) =>
      place === HOST_NAME ? "a cluster that is not a shard" : describeShard({ name: place });
    const [from, to] = [describe(host.name), describe(name)];
    const message =
      from === to
        ? `the timeline moves to another etcd cluster (${to})`
        : `the timeline moves from ${from} to ${to}`;
    this.changes.push({ of: "timeline", message });
    const isNew = this.newShards.some((each) => each.index === index);
    if (isNew) {
      const text = "first apply the new shard with the timeline where it is, then move the timeline";
      this.problems.push({ path: ["timeline", "host"], cluster: undefined, message: `${message}: ${text}` });
    }
    this.newHost = cluster;
  }

  /** A shard that is removed must be readable too: its keys move. */
  private checkRemoved(): void {
    for (const [index, { state }] of this.clusters.entries()) {
      const shard = this.survey.shards[index];
      const error = shard?.cluster?.error;
      if (state !== "removed" || shard === undefined || error === undefined) continue;
      const text = describeError(error, shard);
      this.problems.push({
        path: ["shards"],
        cluster: undefined,
        message: `${describeShard(shard)}: ${text}`,
      });
    }
  }
}

const nameTaken = (id: string, earlier: string): string =>
  `it is the etcd cluster ${id}, but in this store the name belongs to the etcd cluster ${earlier}: ` +
  "give the new cluster another name";

/** The error of a cluster that cannot be read, without the cluster's name. */
function describeError(error: unknown, cluster: { readonly index: number; readonly name: string }): string {
  return describeUserProblem(error) ?? withDetail(error).replace(`${describeShard(cluster)}: `, "");
}
