import { once } from "node:events";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/types.js";
import { createLog, type Log } from "../ops/log.js";
import { version } from "../ops/package.js";
import { type Proxy as RunningProxy, startProxy } from "../server/proxy.js";
import { CommandError, Exit } from "./exit.js";
import { onSignals } from "./signals.js";

/**
 * `braid serve`: runs a proxy until a signal ends it, gracefully at the first and at once at the second. SIGHUP has it
 * read its configuration again.
 */
export async function serve(configFile: string): Promise<number> {
  const config = loadConfig(configFile);
  const log = createLog(config.log.level);
  const stop = new AbortController();
  let reload = () => {};
  onSignals(
    () => stop.abort(),
    () => process.exit(Exit.failure),
    () => reload(),
  );
  const proxy = await startProxy(config, log, stop.signal).catch((error: Error) => {
    log.debug({ err: error }, "start failed");
    throw new CommandError(Exit.failure, `the proxy did not start: ${error.message}`);
  });
  log.info({ version, addresses: proxy.addresses, shards: config.shards.length }, "serving");
  reload = () => reloadConfig(proxy, configFile, log);
  // Whoever started us with a message channel waits for this.
  process.send?.({ addresses: proxy.addresses });
  if (!stop.signal.aborted) await once(stop.signal, "abort");
  log.info("stopping");
  await proxy.stop();
  return Exit.ok;
}

/** A file that is not valid changes nothing. */
function reloadConfig(proxy: RunningProxy, file: string, log: Log): void {
  let config: Config;
  try {
    config = loadConfig(file);
  } catch (error) {
    log.error({ error: (error as Error).message }, "the configuration was not reloaded, it stays as it was");
    return;
  }
  const { applied, needsRestart } = proxy.reload(config);
  if (needsRestart.length > 0) {
    log.warn({ applied, needsRestart }, "configuration reloaded; some changes need a restart");
  } else log.info({ applied }, "configuration reloaded");
}
