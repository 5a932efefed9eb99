import { asOwnUser } from "../app/store/auth.js";
import { tlsOf } from "../app/store/tls.js";
import type { ClusterAccess, Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import { openShard, type ShardClient } from "../shard/client.js";
import { withDetail } from "../status/error.js";
import { StatusRequest, StatusResponse } from "../wire/messages.js";
import { Maintenance } from "../wire/paths.js";

/** One endpoint of one cluster, and its response. */
export interface Probe {
  /** "shard a", or "timeline" for a dedicated timeline host. */
  readonly cluster: string;
  readonly endpoint: string;
  readonly answer: Answer | undefined;
  readonly error: string | undefined;
}

export interface Answer {
  readonly clusterId: bigint;
  readonly version: string;
  readonly revision: number;
  readonly hasLeader: boolean;
  readonly isLeader: boolean;
  /** Bytes. */
  readonly dbSize: number;
  /** Bytes; undefined before etcd 3.6. */
  readonly quota: number | undefined;
  /** Alarms and other problems that the etcd reports. */
  readonly errors: readonly string[];
  readonly milliseconds: number;
}

/** A cluster to probe. */
export interface Cluster {
  readonly name: string;
  readonly endpoints: readonly string[];
  /** Index of the shard; -1 for a timeline host that is not a shard. */
  readonly index: number;
}

/** All clusters of a configuration. */
export function clustersOf(config: Config): Cluster[] {
  const shards = config.shards.map(({ name, endpoints }, index) => ({
    name: `shard ${name}`,
    endpoints,
    index,
  }));
  if (config.timeline.kind === "shard") return shards;
  return [...shards, { name: "timeline", endpoints: config.timeline.endpoints, index: -1 }];
}

/** Requests the status of every endpoint of a cluster. */
export function probeCluster({ name, endpoints, index }: Cluster, config: Config): Promise<Probe[]> {
  return Promise.all(endpoints.map((endpoint) => probe(name, endpoint, index, config)));
}

function accessTo({ shards, timeline }: Config, index: number): Omit<ClusterAccess, "endpoints"> {
  return shards[index] ?? (timeline.kind === "dedicated" ? timeline : {});
}

async function probe(cluster: string, endpoint: string, index: number, config: Config): Promise<Probe> {
  const failed = (error: string): Probe => ({ cluster, endpoint, answer: undefined, error });
  let client: ShardClient;
  try {
    const connection = openShard({
      index,
      name: cluster,
      endpoints: [endpoint],
      requestTimeoutMs: config.limits.requestTimeoutMs,
      connectTimeoutMs: config.limits.connectTimeoutMs,
      transport: config.transport,
      tls: tlsOf(accessTo(config, index), config),
      log: createLog("silent"),
    });
    client = asOwnUser(config, connection);
  } catch (error) {
    return failed((error as Error).message.replace(`shard "${cluster}": `, ""));
  }
  const begin = performance.now();
  try {
    const response = await client.call(Maintenance.Status, StatusRequest.encode({}), { idempotent: true });
    const status = StatusResponse.decode(response);
    const answer: Answer = {
      clusterId: status.header?.clusterId ?? 0n,
      version: status.version,
      revision: status.header?.revision ?? 0,
      hasLeader: status.leader !== 0n,
      isLeader: status.leader === status.header?.memberId,
      dbSize: status.dbSize,
      quota: status.dbSizeQuota === 0 ? undefined : status.dbSizeQuota,
      errors: status.errors,
      milliseconds: performance.now() - begin,
    };
    return { cluster, endpoint, answer, error: undefined };
  } catch (error) {
    return failed(client.endpoints()[0]?.lastError ?? withDetail(error));
  } finally {
    client.close();
  }
}

/** What is wrong with endpoints, in words. */
export function findProblems(probes: readonly Probe[]): string[] {
  const problems: string[] = [];
  const clusterOf = new Map<bigint, Probe>();
  const idOf = new Map<string, Probe>();
  for (const found of probes) {
    const where = `${found.cluster}, ${found.endpoint}`;
    if (!found.answer) {
      problems.push(`${where}: ${found.error}`);
      continue;
    }
    if (!found.answer.hasLeader) problems.push(`${where}: its cluster has no leader`);
    if (mayCrash(found.answer.version))
      problems.push(
        `${where}: etcd ${found.answer.version} may crash when a connection is lost (etcd issues 14110, 14891); ` +
          "3.4.23, 3.5.7 and newer do not",
      );
    const id = found.answer.clusterId;
    const sibling = idOf.get(found.cluster);
    if (sibling && sibling.answer?.clusterId !== id) {
      problems.push(`${where}: belongs to another cluster than ${sibling.endpoint}`);
    } else if (!sibling) {
      idOf.set(found.cluster, found);
    }
    const other = clusterOf.get(id);
    if (other && other.cluster !== found.cluster) {
      problems.push(`${where}: is the same cluster as ${other.cluster}, ${other.endpoint}`);
    } else if (!other) {
      clusterOf.set(id, found);
    }
  }
  return problems;
}

/**
 * True for an etcd version (such as "3.5.4") that may crash when a connection is lost while it reads several keys, which
 * proxies do.
 */
export function mayCrash(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  if (major !== 3) return false;
  return minor < 4 || (minor === 4 && patch < 23) || (minor === 5 && patch < 7);
}

/** The state of an endpoint in one or two words. */
export function stateOf({ answer }: Probe): string {
  if (answer === undefined) return "unreachable";
  return answer.isLeader ? "leader" : answer.hasLeader ? "follower" : "no leader";
}

/** The smallest quota of a cluster's members, in bytes; undefined if none is known. */
export function quotaOf(probes: readonly Probe[]): number | undefined {
  const quotas = probes.flatMap(({ answer }) => answer?.quota ?? []).filter((quota) => quota > 0);
  return quotas.length === 0 ? undefined : Math.min(...quotas);
}
