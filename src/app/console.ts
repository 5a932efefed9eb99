import type { Accounts } from "../accounts/accounts.js";
import type { Config } from "../config/types.js";
import { type Console, createConsole } from "../console/console.js";
import type { Log } from "../ops/log.js";
import type { Hasher } from "../routing/hash.js";
import type { Handlers } from "../rpc/call.js";
import type { Probes } from "../services/probes.js";
import type { WatchService } from "../services/watch.js";
import { StatusError, withDetail } from "../status/error.js";
import { readRecords } from "./reshard/planStore.js";
import type { Store } from "./store/store.js";

/** The parts of a proxy that the console shows. */
interface Shown {
  /** Live settings of it may change. */
  readonly config: Config;
  readonly store: Store;
  readonly hasher: Hasher;
  readonly accounts: Accounts;
  /** With the callers of clients. */
  readonly handlers: Handlers;
  readonly watch: Pick<WatchService, "hub" | "sessions">;
  readonly probes: Probes;
  metricsText(): Promise<string>;
  readonly log: Log;
}

/** Creates the console of a proxy. */
export async function openConsole(shown: Shown): Promise<Console> {
  const { config, store, hasher, accounts, handlers, watch, probes, metricsText, log } = shown;
  const { auth, clients, host, shards, timeline, currentHost } = store;
  let said = "";
  return createConsole({
    handlers,
    callerOf: auth && ((metadata) => auth.callers.of(metadata)),
    shards,
    password: config.console.password,
    hosts: () => config.http.hosts,
    store: store.id,
    hasher,
    timeline,
    host,
    nameOf: (index) => (index < 0 ? host.name : clients.at(index).name),
    backends: () => store.backends(),
    probes,
    watch,
    metricsText,
    readPlanRecords: () => readRecords(currentHost()),
    accounts,
    failed: (reason) => {
      const text = withDetail(StatusError.from(reason));
      if (text !== said) log.warn({ error: text }, "the console could not read the metrics");
      said = text;
    },
    log,
  });
}
