import { asOwnUser } from "../app/store/auth.js";
import { findStoreContradictions } from "../app/store/store.js";
import { tlsOf } from "../app/store/tls.js";
import { loadConfig } from "../config/load.js";
import type { ClusterAccess, Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import { isDenied } from "../shard/access.js";
import { openShard, type ShardClient } from "../shard/client.js";
import { withDetail } from "../status/error.js";
import { readMaterial, TlsFileError } from "../tls/material.js";
import { StatusRequest, StatusResponse } from "../wire/messages.js";
import { Maintenance } from "../wire/paths.js";
import { contradictionLines, startError } from "./contradictions.js";
import { Exit } from "./exit.js";
import { findLimitProblems } from "./limits.js";
import { formatTable } from "./table.js";
import { findUserProblems } from "./users.js";

/** One endpoint of one cluster, and its response. */
interface Probe {
  /** "shard a", or "timeline" for a dedicated timeline host. */
  readonly cluster: string;
  readonly endpoint: string;
  readonly answer: Answer | undefined;
  readonly error: string | undefined;
}

interface Answer {
  readonly clusterId: bigint;
  readonly version: string;
  readonly revision: number;
  readonly hasLeader: boolean;
  readonly isLeader: boolean;
  readonly dbSize: number;
  readonly milliseconds: number;
}

/** `braid check`: validates the configuration, queries the status of every endpoint and prints a table. */
export async function check(configFile: string): Promise<number> {
  const config = loadConfig(configFile);
  const probes = await Promise.all(
    clusters(config).flatMap(({ name, endpoints, index }) =>
      endpoints.map((endpoint) => probe(name, endpoint, index, config)),
    ),
  );
  // Newer etcds return their status only to the role root.
  const answers = ({ answer, error }: Probe) => answer !== undefined || isDenied({ message: error ?? "" });
  const answering = new Set(probes.filter(answers).map(({ cluster }) => cluster));
  const found = [
    ...findListenProblems(config),
    ...findProblems(probes),
    ...(await findUserProblems(config, answering)),
    ...(await findLimitProblems(config, answering)),
    ...(await findContradictions(config, configFile)),
  ];
  // A problem that prevents several checks is reported once.
  const problems = [...new Set(found)];
  const host =
    config.timeline.kind === "shard"
      ? `shard ${config.shards[config.timeline.shard]?.name}`
      : config.timeline.endpoints.join(", ");
  const count = config.shards.length;
  const lines = [
    `${configFile} is valid: ${count} shard${count === 1 ? "" : "s"}, timeline host: ${host}`,
    "",
    formatTable([
      ["CLUSTER", "ENDPOINT", "STATE", "VERSION", "REVISION", "SIZE", "TIME"],
      ...probes.map(row),
    ]),
    "",
    problems.length === 0 ? "No problems found." : "Problems:",
    ...problems.map((problem) => `  ${problem}`),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
  return problems.length === 0 ? Exit.ok : Exit.failure;
}

interface Cluster {
  readonly name: string;
  readonly endpoints: readonly string[];
  /** Index of the shard; -1 for a timeline host that is not a shard. */
  readonly index: number;
}

function clusters(config: Config): Cluster[] {
  const shards = config.shards.map(({ name, endpoints }, index) => ({
    name: `shard ${name}`,
    endpoints,
    index,
  }));
  if (config.timeline.kind === "shard") return shards;
  return [...shards, { name: "timeline", endpoints: config.timeline.endpoints, index: -1 }];
}

function accessTo({ shards, timeline }: Config, index: number): Omit<ClusterAccess, "endpoints"> {
  return shards[index] ?? (timeline.kind === "dedicated" ? timeline : {});
}

/** Contradictions between the clusters and the configuration, with the lines of its file. */
async function findContradictions(config: Config, configFile: string): Promise<string[]> {
  const log = createLog("silent");
  return findStoreContradictions(config, log).then(
    (contradictions) => contradictionLines(contradictions, config, configFile),
    (error: Error) => (isDenied(error) ? [] : [startError(error, configFile)]),
  );
}

/** Problems of the certificate for clients. */
function findListenProblems({ tls }: Config): string[] {
  if (tls === undefined) return [];
  try {
    const { expiresAt } = readMaterial({ ...tls, caFile: tls.clientCaFile });
    if (expiresAt > Date.now()) return [];
    return [`tls: ${tls.certFile}: the certificate expired at ${new Date(expiresAt).toISOString()}`];
  } catch (error) {
    if (!(error instanceof TlsFileError)) throw error;
    return [`tls: ${error.message}`];
  }
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
      milliseconds: performance.now() - begin,
    };
    return { cluster, endpoint, answer, error: undefined };
  } catch (error) {
    return failed(client.endpoints()[0]?.lastError ?? withDetail(error));
  } finally {
    client.close();
  }
}

function findProblems(probes: readonly Probe[]): string[] {
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

function row({ cluster, endpoint, answer }: Probe): string[] {
  if (!answer) return [cluster, endpoint, "unreachable", "-", "-", "-", "-"];
  const state = answer.isLeader ? "leader" : answer.hasLeader ? "follower" : "no leader";
  return [
    cluster,
    endpoint,
    state,
    answer.version,
    String(answer.revision),
    `${(answer.dbSize / 2 ** 20).toFixed(1)} MiB`,
    `${answer.milliseconds.toFixed(0)} ms`,
  ];
}
