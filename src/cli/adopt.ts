import { loadConfig } from "../config/load.js";
import { createLog } from "../ops/log.js";
import { adoptCluster } from "../server/store.js";
import { CommandError, Exit } from "./exit.js";

/** `braid adopt`: makes the cluster behind a shard's endpoints the shard's own. */
export async function adopt(shard: string, configFile: string): Promise<number> {
  const config = loadConfig(configFile);
  const adopted = await adoptCluster(config, shard, createLog("silent")).catch((error: Error) => {
    throw new CommandError(Exit.failure, error.message);
  });
  process.stdout.write(
    adopted
      ? `Shard ${shard} is this cluster from now on. Restart the proxies.\n`
      : `Shard ${shard} is this cluster already; nothing was changed.\n`,
  );
  return Exit.ok;
}
