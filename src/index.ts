/**
 * The public interface of the package `etcd-braid`: a program can run a proxy in its own process, and can ask where keys live.
 * What is not exported here may change in any version.
 */

import { type Proxy as RunningProxy, startProxy as start } from "./app/proxy.js";
import type { Config } from "./config/types.js";
import { createLog, type Log } from "./ops/log.js";
import { createRouter } from "./routing/create.js";

export type { Proxy as RunningProxy } from "./app/proxy.js";
export type { Reloaded } from "./app/settings.js";
export { ConfigError, type Problem } from "./config/error.js";
export { loadConfig, parseConfig } from "./config/load.js";
export type { Config } from "./config/types.js";
export type { Log } from "./ops/log.js";
export { version } from "./ops/package.js";

export interface StartOptions {
  /** A pino logger. `log.level` of the configuration applies to it here only. Default: standard error, as `braid serve`. */
  readonly log?: Log;
  /** Aborting it ends the wait for shards that are down; `startProxy` then rejects. It does not stop a running proxy. */
  readonly signal?: AbortSignal;
}

/**
 * Starts a proxy in this process. Resolves when it serves. While shards are down it waits, and logs that.
 *
 * `workers` is ignored: several processes are a matter of `braid serve`. Signals are left to the caller.
 */
export function startProxy(config: Config, { log, signal }: StartOptions = {}): Promise<RunningProxy> {
  return start(
    config,
    log === undefined ? createLog(config.log.level) : log.child({}, { level: config.log.level }),
    signal,
  );
}

/** Where a key lives. */
export interface Route {
  /** Name of the shard. */
  readonly shard: string;
  /** The key's routing group: its first bytes. All keys of a group live on one shard. */
  readonly group: Uint8Array;
}

export interface KeyRouter {
  /** Text stands for its UTF-8 bytes. Throws `RangeError` for the empty key and for keys that begin with a zero byte. */
  route(key: Uint8Array | string): Route;
}

/** Creates the router of a configuration. It needs no connection to the shards. */
export async function openRouter(config: Config): Promise<KeyRouter> {
  const router = await createRouter(config.map);
  return {
    route(key) {
      const bytes = typeof key === "string" ? Buffer.from(key) : key;
      if (bytes.length === 0) throw new RangeError("the key is empty");
      if (bytes[0] === 0) throw new RangeError("keys that begin with a zero byte are reserved");
      const { shard, group } = router.explain(bytes);
      // A copy: the caller may reuse the bytes of the key.
      return { shard: config.shards[shard]!.name, group: Uint8Array.from(group) };
    },
  };
}
