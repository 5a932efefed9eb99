import { once } from "node:events";
import { loadConfig } from "../config/load.js";
import { createLog } from "../ops/log.js";
import { version } from "../ops/package.js";
import { startProxy } from "../server/proxy.js";
import { CommandError, Exit } from "./exit.js";
import { onSignals } from "./signals.js";

/** `braid serve`: runs a proxy until a signal ends it, gracefully at the first and at once at the second. */
export async function serve(configFile: string): Promise<number> {
  const config = loadConfig(configFile);
  const log = createLog(config.log.level);
  const stop = new AbortController();
  onSignals(
    () => stop.abort(),
    () => process.exit(Exit.failure),
  );
  const proxy = await startProxy(config, log, stop.signal).catch((error: Error) => {
    log.debug({ err: error }, "start failed");
    throw new CommandError(Exit.failure, `the proxy did not start: ${error.message}`);
  });
  log.info({ version, addresses: proxy.addresses, shards: config.shards.length }, "serving");
  // Whoever started us with a message channel waits for this.
  process.send?.({ addresses: proxy.addresses });
  if (!stop.signal.aborted) await once(stop.signal, "abort");
  log.info("stopping");
  await proxy.stop();
  return Exit.ok;
}
