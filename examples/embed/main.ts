// A program with a proxy inside: node main.js shards.yaml [key ...]
// It prints where the keys live, then serves until SIGINT or SIGTERM. SIGHUP reloads the configuration.
import { once } from "node:events";
import { ConfigError, loadConfig, openRouter, startProxy } from "etcd-braid";

const [file = "shards.yaml", ...keys] = process.argv.slice(2);

async function main(): Promise<void> {
  const config = loadConfig(file);

  const router = await openRouter(config);
  for (const key of keys) console.log(`${key} lives on shard ${router.route(key).shard}`);

  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  // Waits for shards that are down, unless it is stopped.
  const proxy = await startProxy(config, { signal: stop.signal });
  process.on("SIGHUP", () => {
    const { applied, needsRestart } = proxy.reload(loadConfig(file));
    console.log(
      `applied: ${applied.join(", ") || "nothing"}; needs a restart: ${needsRestart.join(", ") || "nothing"}`,
    );
  });
  console.log(`serving on ${proxy.addresses.join(", ")}`);

  if (!stop.signal.aborted) await once(stop.signal, "abort");
  await proxy.stop();
  console.log("stopped");
}

main().catch((error: Error) => {
  // A ConfigError lists everything that is wrong with the file, with line numbers.
  console.error(error instanceof ConfigError ? error.message : error);
  process.exitCode = 1;
});
