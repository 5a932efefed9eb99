import { loadConfig } from "../config/load.js";
import { createLog } from "../ops/log.js";
import { adoptCluster } from "../server/store.js";
import { CommandError, Exit } from "./exit.js";

/** `braid adopt`: makes the cluster behind a shard's endpoints the shard's own. */
export async function adopt(shard: string, configFile: string): Promise<number> {
  const config = loadConfig(configFile);
  const index = config.shards.findIndex(({ name }) => name === shard);
  if (index < 0) {
    const names = config.shards.map(({ name }) => name).join(", ");
    throw new CommandError(Exit.usage, `there is no shard "${shard}"; the shards are ${names}`);
  }
  const adopted = await adoptCluster(config, index, createLog("silent")).catch((error: Error) => {
    throw new CommandError(Exit.failure, error.message);
  });
  process.stdout.write(
    adopted
      ? `Shard ${shard} is this cluster from now on. Restart the proxies.\n`
      : `Shard ${shard} is this cluster already; nothing was changed.\n`,
  );
  return Exit.ok;
}
