import { connectShards } from "../app/store/store.js";
import type { Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import { describeShard } from "../shard/name.js";
import type { Shard } from "../shard/shard.js";
import { withDetail } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { EMPTY } from "../wire/messages.js";
import { Auth } from "../wire/paths.js";

/** Problems of the proxy's users on the clusters that respond. */
export async function findUserProblems(config: Config, answering: ReadonlySet<string>): Promise<string[]> {
  if (answering.size === 0) return [];
  const connections = await connectShards(config, createLog("silent")).catch((error: Error) => error);
  // A certificate that cannot be used with a user, for example.
  if (connections instanceof Error) return [connections.message];
  const { shards, host, close } = connections;
  try {
    const problems = await Promise.all(
      [...new Set([...shards, host])].map(async (shard) => {
        const name = shard.index < 0 ? "timeline" : `shard ${shard.name}`;
        if (!answering.has(name)) return [];
        const problem = await findUserProblem(shard);
        return problem === undefined ? [] : [`${name}: ${problem}`];
      }),
    );
    return problems.flat();
  } finally {
    close();
  }
}

/** The problem of the proxy's user on a cluster that responds; undefined if there is none. */
export function findUserProblem(cluster: Shard): Promise<string | undefined> {
  // Allowed for all without authentication, and only for the role root with it.
  return cluster.call(Auth.UserList, EMPTY, { idempotent: true }).then(
    () => undefined,
    (error) => describeUserProblem(error) ?? withDetail(error).replace(`${describeShard(cluster)}: `, ""),
  );
}

/** Explains an error that a cluster returns because of the proxy's user; undefined for other errors. */
export function describeUserProblem(error: unknown): string | undefined {
  if (etcd.permissionDenied.is(error)) return "the proxy's user does not have the role root";
  if (etcd.userEmpty.is(error)) return "authentication is on, but the proxy has no user (auth)";
  return undefined;
}
