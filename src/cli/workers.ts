import { once } from "node:events";
import { choosePorts } from "../app/ports.js";
import { Primary } from "../app/workers/primary.js";
import type { Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import { version } from "../ops/package.js";
import { CommandError, Exit } from "./exit.js";
import { notifySystemd } from "./notify.js";
import { onSignals } from "./signals.js";

/** `braid serve` with several workers: this process starts and replaces them. */
export async function serveWorkers(config: Config, configFile: string): Promise<number> {
  const log = createLog(config.log.level);
  const primary = new Primary({
    workers: config.workers,
    listen: await choosePorts(config.listen),
    args: ["serve", "--config", configFile],
    log,
  });
  const stop = new AbortController();
  onSignals(
    () => stop.abort(),
    () => {
      primary.signal("SIGTERM");
      process.exit(Exit.failure);
    },
    () => primary.signal("SIGHUP"),
  );
  const stopped = once(stop.signal, "abort").then(() => {
    notifySystemd(log, "STOPPING=1");
    return primary.stop();
  });
  const started = await primary.start().catch((error: Error) => {
    throw new CommandError(Exit.failure, `the proxy did not start: ${error.message}`);
  });
  if (typeof started === "number") return started;
  if (!stop.signal.aborted) {
    log.info({ version, addresses: started, workers: config.workers }, "all workers serve");
    // A parent process with a message channel waits for this.
    process.send?.({ addresses: started });
    notifySystemd(log, "READY=1", `STATUS=Serving on ${started.join(", ")} with ${config.workers} workers`);
  }
  return (await stopped) ? Exit.ok : Exit.failure;
}
