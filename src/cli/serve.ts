import { once } from "node:events";
import { type Proxy as RunningProxy, startProxy } from "../app/proxy.js";
import { WorkerLink } from "../app/workers/link.js";
import { type Post, readPost } from "../app/workers/messages.js";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/types.js";
import { isOutOfHandles } from "../ops/handles.js";
import { tuneHeap } from "../ops/heap.js";
import { createLog, type Log } from "../ops/log.js";
import { version } from "../ops/package.js";
import { startError } from "./contradictions.js";
import { CommandError, Exit } from "./exit.js";
import { notifySystemd } from "./notify.js";
import { onSignals } from "./signals.js";

/**
 * `braid serve`: runs a proxy, or several with `workers`. The first signal stops it gracefully, the second at once. SIGHUP
 * reloads the configuration.
 */
export async function serve(configFile: string): Promise<number> {
  const post = readPost();
  const config = readConfig(configFile, post);
  if (post === undefined && config.workers > 1) {
    const { serveWorkers } = await import("./workers.js");
    return serveWorkers(config, configFile);
  }
  const log = createLog(config.log.level);
  return serveOne(config, configFile, post === undefined ? log : log.child({ worker: post.worker }), post);
}

/** Runs one proxy in this process. */
async function serveOne(
  config: Config,
  configFile: string,
  log: Log,
  post: Post | undefined,
): Promise<number> {
  tuneHeap();
  const stop = new AbortController();
  let reload = () => {};
  onSignals(
    () => stop.abort(),
    () => process.exit(Exit.failure),
    () => reload(),
  );
  const link = post && new WorkerLink(post.worker);
  const proxy = await startProxy(config, log, stop.signal, link).catch((error: Error) => {
    log.debug({ err: error }, "start failed");
    if (isOutOfHandles(error)) throw error;
    throw new CommandError(Exit.failure, `the proxy did not start: ${startError(error, configFile)}`);
  });
  log.info({ version, addresses: proxy.addresses, shards: config.shards.length }, "serving");
  reload = () => reloadConfig(proxy, configFile, log, post);
  if (link !== undefined) link.serving(proxy.addresses);
  else {
    // A parent process with a message channel waits for this.
    process.send?.({ addresses: proxy.addresses });
    notifySystemd(log, "READY=1", `STATUS=Serving on ${proxy.addresses.join(", ")}`);
  }
  if (!stop.signal.aborted) await once(stop.signal, "abort");
  log.info("stopping");
  if (link === undefined) notifySystemd(log, "STOPPING=1");
  await proxy.stop();
  return Exit.ok;
}

/** Reads the configuration. A worker listens on the addresses from its primary. */
function readConfig(file: string, post: Post | undefined): Config {
  const config = loadConfig(file);
  return post === undefined ? config : { ...config, listen: post.listen };
}

/** Reloads the configuration. An invalid file changes nothing. */
function reloadConfig(proxy: RunningProxy, file: string, log: Log, post: Post | undefined): void {
  let config: Config;
  try {
    config = readConfig(file, post);
  } catch (error) {
    log.error(
      { error: (error as Error).message },
      "the configuration was not reloaded, the old one stays in effect",
    );
    return;
  }
  const { applied, needsRestart } = proxy.reload(config);
  if (needsRestart.length > 0) {
    log.warn({ applied, needsRestart }, "configuration reloaded; some changes need a restart");
  } else log.info({ applied }, "configuration reloaded");
}
