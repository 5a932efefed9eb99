import { findStoreContradictions } from "../app/store/store.js";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import { isDenied } from "../shard/access.js";
import { readMaterial, TlsFileError } from "../tls/material.js";
import { contradictionLines, startError } from "./contradictions.js";
import { Exit } from "./exit.js";
import { findLimitProblems } from "./limits.js";
import { clustersOf, findProblems, type Probe, probeCluster, stateOf } from "./probes.js";
import { formatTable, size } from "./table.js";
import { findUserProblems } from "./users.js";

/** `braid check`: validates the configuration, queries the status of every endpoint and prints a table. */
export async function check(configFile: string): Promise<number> {
  const config = loadConfig(configFile);
  const probes = (
    await Promise.all(clustersOf(config).map((cluster) => probeCluster(cluster, config)))
  ).flat();
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

function row(probe: Probe): string[] {
  const { cluster, endpoint, answer } = probe;
  const state = stateOf(probe);
  if (!answer) return [cluster, endpoint, state, "-", "-", "-", "-"];
  return [
    cluster,
    endpoint,
    state,
    answer.version,
    String(answer.revision),
    size(answer.dbSize),
    `${answer.milliseconds.toFixed(0)} ms`,
  ];
}
