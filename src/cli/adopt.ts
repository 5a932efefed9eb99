import { adoptCluster } from "../app/store/adoption.js";
import { loadConfig } from "../config/load.js";
import { createLog } from "../ops/log.js";
import { TIMELINE_CLUSTER } from "../snapshot/restore.js";
import { startError } from "./contradictions.js";
import { CommandError, Exit } from "./exit.js";

/** `braid adopt`: accepts the cluster behind a shard's endpoints, or the timeline host's, as part of the store. */
export async function adopt(shard: string, configFile: string): Promise<number> {
  const config = loadConfig(configFile);
  const index = config.shards.findIndex(({ name }) => name === shard);
  const isHost = shard === TIMELINE_CLUSTER && config.timeline.kind === "dedicated";
  if (index < 0 && !isHost) {
    const names = config.shards.map(({ name }) => name).join(", ");
    throw new CommandError(Exit.usage, `there is no shard "${shard}"; the shards are ${names}`);
  }
  const adopted = await adoptCluster(config, index, createLog("silent")).catch((error: Error) => {
    throw new CommandError(Exit.failure, startError(error, configFile));
  });
  const name = isHost ? "The timeline host" : `Shard ${shard}`;
  process.stdout.write(
    adopted
      ? `${name} is now this cluster. Restart the proxies.\n`
      : `${name} is already this cluster; nothing was changed.\n`,
  );
  return Exit.ok;
}
