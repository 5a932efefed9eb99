import type { Path } from "../../config/problems.js";
import type { Config } from "../../config/types.js";
import { judgeMap } from "../../reshard/fileMap.js";
import type { PlacementState } from "../../reshard/placement.js";
import { compareBytes } from "../../routing/bytes.js";
import { areAlike, compareMaps, inOrderOf, type MapDifference, parseMap } from "../../routing/fingerprint.js";
import { describeShard } from "../../shard/name.js";
import { Code, StatusError } from "../../status/error.js";
import { type Base, decodeBaseHead, headOf } from "../../timeline/base.js";
import { HOST_NAME, type HostPlace, type Marks } from "../../timeline/mark.js";

/** The state of one cluster, read linearizably. */
export interface Reading {
  /** Decimal. */
  readonly clusterId: string;
  readonly revision: number;
  readonly marks: Marks;
  /** The base of the timeline log, on the timeline host. */
  readonly base: Uint8Array | undefined;
}

/** Indices in the store by places in the file; undefined for a shard that the store does not know. */
export type Indices = readonly (number | undefined)[];

/** A cluster of the configuration: a shard, or a timeline host that is not a shard. */
export interface ConfiguredCluster {
  /** Place among the shards of the file, or -1. The index in the store can differ, see `indicesOf`. */
  readonly index: number;
  readonly name: string;
  /** Undefined if the cluster cannot be reached. */
  readonly reading: Reading | undefined;
}

/** One way in which the configuration and the clusters disagree. */
export interface Contradiction {
  /** The setting that is wrong. */
  readonly path: Path;
  /** Place in the file of the cluster that shows it, or -1; undefined if it does not concern a single cluster. */
  readonly cluster: number | undefined;
  /** What is wrong, without any address. */
  readonly message: string;
  /** True if `braid adopt` may resolve it. */
  readonly isAdoptable?: boolean;
}

/** The clusters contradict the configuration. */
export class ContradictionError extends StatusError {
  constructor(
    readonly contradictions: readonly Contradiction[],
    readonly config: Config,
  ) {
    super(Code.FAILED_PRECONDITION, contradictions.map(({ message }) => message).join("; "));
  }
}

/** The message for operators, with the cluster's endpoints. */
export function describeContradiction({ cluster, message }: Contradiction, config: Config): string {
  if (cluster === undefined) return message;
  const { timeline, shards } = config;
  const dedicated = timeline.kind === "dedicated" ? timeline.endpoints : [];
  const endpoints = shards[cluster]?.endpoints ?? dedicated;
  const subject = subjectOf(cluster, config);
  return `${subject} (${endpoints.join(", ")}): ${message.replace(`${subject}: `, "")}`;
}

export const subjectOf = (index: number, { shards }: Config): string =>
  describeShard({ index, name: shards[index]?.name ?? "" });

export const endpointsPath = (index: number): Path =>
  index < 0 ? ["timeline", "endpoints"] : ["shards", index, "endpoints"];

/**
 * The store that most clusters are marked for; if there are several, the timeline host's. Marks with names that are not in
 * the configuration count only on the host. Without any marks, the claim of a cluster without marks counts.
 */
export function storeOf(clusters: readonly ConfiguredCluster[], host: number): string | undefined {
  const votes = new Map<string, number>();
  const names = new Set(clusters.map(({ name }) => name));
  for (const { index, reading } of clusters) {
    for (const { store, name } of reading?.marks.marks ?? []) {
      if (index !== host && !names.has(name)) continue;
      votes.set(store, (votes.get(store) ?? 0) + (index === host ? 1.5 : 1));
    }
  }
  if (votes.size === 0) {
    const unmarked = clusters.filter(({ reading }) => reading?.marks.marks.length === 0);
    return unmarked.flatMap(({ reading }) => reading?.marks.claims ?? [])[0]?.store;
  }
  return [...votes].reduce((most, each) => (each[1] > most[1] ? each : most))[0];
}

/**
 * The indices of a configuration's shards in the store, which `names` has by index. It is undefined until the first plan is
 * prepared; until then, the indices are the places in the file.
 */
export function indicesOf({ shards }: Config, names: readonly string[] | undefined): Indices {
  if (names === undefined) return shards.map((_, place) => place);
  return shards.map(({ name }) => {
    const index = names.indexOf(name);
    return index < 0 ? undefined : index;
  });
}

/**
 * All contradictions between a configuration and the clusters that could be read. `placement`: as the
 * log has it, if it was read. Otherwise, the head of the base counts, which can be older. Pure.
 */
export function findContradictions(
  config: Config,
  map: string,
  clusters: readonly ConfiguredCluster[],
  placement?: Readonly<PlacementState>,
): Contradiction[] {
  return new Inquiry(config, map, clusters, placement).run();
}

/**
 * Checks the marks of one cluster, which should belong to `store` and have `expected` as its index there. Returns undefined if
 * they match, or if there are no marks. `names` are those of all shards.
 */
export function judgeMarks(
  cluster: Pick<ConfiguredCluster, "index" | "name">,
  expected: number,
  clusterId: string,
  marks: Marks,
  store: string | undefined,
  names: readonly string[],
): Contradiction | undefined {
  const wrong = judgeIdentity(cluster, clusterId, marks, store, names);
  const { index } = cluster;
  const [mark] = marks.marks;
  if (wrong !== undefined || mark === undefined || mark.index === expected) return wrong;
  const message =
    `${describeShard(cluster)}: the etcd cluster ${clusterId} is shard number ${mark.index + 1} of this store, ` +
    `not ${expected + 1}: the order cannot change`;
  return { path: ["shards", index, "name"], cluster: index, message };
}

/** The same, but does not check the index. */
export function judgeIdentity(
  { index, name }: Pick<ConfiguredCluster, "index" | "name">,
  clusterId: string,
  { marks, claims }: Marks,
  store: string | undefined,
  names: readonly string[],
): Contradiction | undefined {
  const cluster = `the etcd cluster ${clusterId}`;
  const wrong = (text: string, path = endpointsPath(index)): Contradiction => ({
    path,
    cluster: index,
    message: `${describeShard({ index, name })}: ${cluster} ${text}`,
  });
  const foreign = marks.find((mark) => mark.store !== store);
  if (foreign !== undefined)
    return wrong(`belongs to another store (${foreign.store}), as its ${describeShard(foreign)}`);
  const claim = claims.find((each) => each.store !== store);
  if (claim !== undefined)
    return wrong(`belongs to another store (${claim.store}), which is not complete yet`);
  const mark = marks[0];
  if (mark === undefined) return undefined;
  if (index < 0 || mark.index < 0) {
    return index === mark.index ? undefined : wrong(`is the ${describeShard(mark)} of this store`);
  }
  if (mark.name === name) return undefined;
  if (names.includes(mark.name)) return wrong(`is shard "${mark.name}" of this store`);
  return wrong(`is shard "${mark.name}" of this store, and the name of a shard cannot change`, [
    "shards",
    index,
    "name",
  ]);
}

/** Clusters that are the same etcd cluster as an earlier one. */
export function findSameClusters(clusters: readonly ConfiguredCluster[], config: Config): Contradiction[] {
  const first = new Map<string, number>();
  return clusters.flatMap(({ index, reading }): Contradiction[] => {
    if (reading === undefined) return [];
    const other = first.get(reading.clusterId);
    if (other === undefined) {
      first.set(reading.clusterId, index);
      return [];
    }
    const text = `is the same etcd cluster as ${subjectOf(other, config)} (id ${reading.clusterId})`;
    return [{ path: endpointsPath(index), cluster: index, message: `${subjectOf(index, config)}: ${text}` }];
  });
}

class Inquiry {
  private readonly found: Contradiction[] = [];
  private readonly hostIndex: number;
  private readonly host: Reading | undefined;
  private readonly hostName: string;
  private readonly hostPath: Path;
  private readonly base: (Base & { readonly cut: readonly number[] }) | undefined;
  private readonly indices: Indices | undefined;
  private readonly store: string | undefined;
  /** The clusters, without shards that plans have removed: their clusters may be in another store by now. */
  private readonly used: readonly ConfiguredCluster[];

  constructor(
    private readonly config: Config,
    private readonly map: string,
    private readonly clusters: readonly ConfiguredCluster[],
    private readonly placement: Readonly<PlacementState> | undefined,
  ) {
    const { timeline, shards } = config;
    this.hostIndex = timeline.kind === "shard" ? timeline.shard : -1;
    this.hostName = shards[this.hostIndex]?.name ?? HOST_NAME;
    this.hostPath = ["timeline", this.hostIndex < 0 ? "endpoints" : "host"];
    this.host = clusters.find(({ index }) => index === this.hostIndex)?.reading;
    const head = this.host?.base && decodeBaseHead(this.host.base);
    this.base = head?.placement && placement ? { ...head, ...headOf(placement, head.placement) } : head;
    const base = clusters.find(({ reading }) => reading?.base !== undefined)?.reading?.base;
    const known = this.base ?? (base && decodeBaseHead(base));
    // While the host cannot be read, its base may have other indices than the places in the file.
    this.indices =
      this.host === undefined && known === undefined
        ? undefined
        : indicesOf(config, known?.placement?.shards);
    this.store = storeOf(clusters, this.hostIndex);
    this.used = clusters.filter((cluster) => !this.isRemoved(cluster));
  }

  run(): Contradiction[] {
    this.found.push(...findSameClusters(this.clusters, this.config));
    const names = this.config.shards.map(({ name }) => name);
    for (const cluster of this.used) {
      const { reading } = cluster;
      if (reading === undefined || this.isAccused(cluster.index)) continue;
      const expected = cluster.index < 0 ? cluster.index : this.indices?.[cluster.index];
      const judged = [reading.clusterId, reading.marks, this.store, names] as const;
      const wrong =
        expected === undefined ? judgeIdentity(cluster, ...judged) : judgeMarks(cluster, expected, ...judged);
      if (wrong !== undefined) this.found.push(wrong);
    }
    this.compareMap();
    for (const cluster of this.used) this.compareWithBase(cluster);
    this.compareHost();
    this.findOtherTimelines();
    return this.found;
  }

  private isRemoved({ index, name }: ConfiguredCluster): boolean {
    const { base } = this;
    if (index < 0 || !base?.placement?.shards.includes(name)) return false;
    const maps = [base.map, base.placement.otherMap ?? base.map];
    return !maps.some((map) => parseMap(map).shards.some((shard) => shard.name === name));
  }

  private isAccused(index: number): boolean {
    return this.found.some(({ cluster }) => cluster === index);
  }

  private add(path: Path, index: number, text: string, isAdoptable = false): void {
    const message = `${subjectOf(index, this.config)}: ${text}`;
    this.found.push({ path, cluster: index, message, isAdoptable });
  }

  /** With another map, reads would go to other shards than the writes did. */
  private compareMap(): void {
    const { base } = this;
    // After the log has moved on, the map here may be old. It is compared when the timeline is loaded.
    if (base === undefined || base.next !== undefined || base.map === this.map) return;
    const { placement } = base;
    if (placement !== undefined && this.isMapOf(base.map, placement.otherMap)) return;
    if (this.placement !== undefined && judgeMap(this.map, this.placement) !== "unknown") return;
    const [stored, own] = [parseMap(base.map), parseMap(this.map)];
    const known = this.found.some(({ path }) => path[0] === "shards");
    for (const difference of compareMaps(stored, placement === undefined ? own : inOrderOf(own, stored))) {
      // The marks have already shown it, more precisely.
      if (known && difference.of === "shards") continue;
      const made = placement === undefined ? "was made with" : "has";
      const message = `this store ${made} another shard map: ${difference.message}`;
      this.found.push({ path: this.pathOf(difference), cluster: undefined, message });
    }
  }

  private isMapOf(...maps: readonly (string | undefined)[]): boolean {
    return maps.some((map) => map !== undefined && areAlike(map, this.map));
  }

  private pathOf({ of, shard, rule }: MapDifference): Path {
    const { shards, rules } = this.config.map;
    const place = shards.findIndex(({ name }) => name === shard);
    if (place >= 0) return ["shards", place, of === "weight" ? "weight" : "name"];
    if (rule === undefined) return ["shards"];
    if (rule.length === 0) return ["routing", "default"];
    const own = rules.filter(({ prefix }) => prefix.length > 0);
    const at = own.findIndex(({ prefix }) => compareBytes(prefix, rule) === 0);
    return at < 0 ? ["routing", "rules"] : ["routing", "rules", at];
  }

  /** Finds a shard that is not the cluster that the timeline knows, or that has lost sealed revisions. */
  private compareWithBase({ index, name, reading }: ConfiguredCluster): void {
    const { base } = this;
    if (base === undefined || base.next !== undefined || reading === undefined || this.isAccused(index))
      return;
    const names = base.placement?.shards ?? parseMap(base.map).shards.map((shard) => shard.name);
    const place = names.indexOf(name);
    // `compareMap` says that the shard is new.
    if (index >= 0 && place < 0) return;
    const path = endpointsPath(index);
    const { clusterId, revision, marks } = reading;
    const [expected, sealed] = [base.clusterIds[place], base.cut[place]];
    if (expected !== undefined && expected !== clusterId) {
      this.add(path, index, otherCluster(name, clusterId, expected), true);
    } else if (base.store !== undefined && marks.marks.length === 0) {
      this.add(path, index, unmarked(clusterId, name), true);
    } else if (sealed !== undefined && revision < sealed) {
      this.add(path, index, lostData(reading, sealed));
    }
  }

  /** Compares the configured timeline host with the one that the marks name. */
  private compareHost(): void {
    // A log that has moved knows itself where it is. Marks may name a host from before.
    if (this.base?.format === 3) return;
    const compared = new Set<string>();
    for (const { index, reading } of this.used) {
      const own = ({ store }: { readonly store: string }) => store === this.store;
      const record = [...(reading?.marks.marks ?? []), ...(reading?.marks.claims ?? [])].find(own)?.host;
      if (record === undefined || compared.has(record.clusterId)) continue;
      compared.add(record.clusterId);
      this.comparePlace(record, index);
    }
    const isMarked = this.clusters.some(({ reading }) => (reading?.marks.marks.length ?? 0) > 0);
    if (!isMarked || this.host === undefined || this.host.marks.marks.length > 0) return;
    if (this.base !== undefined || this.isAccused(this.hostIndex)) return;
    const path = endpointsPath(this.hostIndex);
    this.add(
      path,
      this.hostIndex,
      `the etcd cluster ${this.host.clusterId} has lost the timeline of this store`,
    );
  }

  /** The parameters are the timeline host according to the mark of the cluster `witness`. */
  private comparePlace({ name, clusterId }: HostPlace, witness: number): void {
    const { host, hostIndex, hostName } = this;
    if (host?.clusterId === clusterId) return;
    if (name !== hostName) {
      const [place, remedy] =
        name === HOST_NAME
          ? ["a cluster that is not a shard", "give its endpoints in timeline.endpoints"]
          : [`shard "${name}"`, `set timeline.host to ${name}`];
      this.found.push({
        path: this.hostPath,
        cluster: hostIndex,
        message:
          `${subjectOf(hostIndex, this.config)}: the timeline of this store is on ${place} (etcd cluster ${clusterId}): ` +
          remedy,
      });
      return;
    }
    if (host === undefined || this.isAccused(hostIndex)) return;
    if (witness === hostIndex || !this.isAccused(witness)) {
      const text = otherCluster(adoptName(name), host.clusterId, clusterId);
      this.add(endpointsPath(hostIndex), hostIndex, text, true);
    }
  }

  /** Finds a log on a cluster other than the host: this store's from before it had marks, or a second one. */
  private findOtherTimelines(): void {
    if (this.isAccused(this.hostIndex) || this.base?.next !== undefined) return;
    for (const { index, reading } of this.clusters) {
      if (index === this.hostIndex || reading?.base === undefined || this.isAccused(index)) continue;
      if (decodeBaseHead(reading.base).next !== undefined) continue;
      const text = `the etcd cluster ${reading.clusterId} holds a timeline, but the timeline host is ${
        this.hostIndex < 0 ? "another cluster" : subjectOf(this.hostIndex, this.config)
      }`;
      const remedy =
        this.base === undefined ? "" : ", which holds one as well: only one of them can be the store's";
      this.add(this.hostPath, index, text + remedy);
    }
  }
}

const adoptName = (name: string): string => (name === HOST_NAME ? "_timeline" : name);

export const otherCluster = (name: string, found: string, expected: string): string =>
  `it is the etcd cluster ${found}, but the store was made with cluster ${expected}: check its endpoints; ` +
  `if the cluster was rebuilt from its newest data, run \`braid adopt ${name}\``;

/** For a cluster whose revision is below `sealed`. */
export const lostData = ({ clusterId, revision }: Reading, sealed: number): string =>
  `the etcd cluster ${clusterId} is at revision ${revision}, below ${sealed} that the timeline has sealed: ` +
  "it lost data; give it its newest data back";

export const unmarked = (clusterId: string, name: string): string =>
  `the etcd cluster ${clusterId} carries no mark of this store, so it lost data; if it was rebuilt from its newest data, ` +
  `run \`braid adopt ${adoptName(name)}\``;
