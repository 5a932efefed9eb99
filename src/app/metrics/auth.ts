import { MAX_SESSIONS, MAX_TOKENS } from "../../auth/callers.js";
import type { Metrics } from "../../ops/prometheus.js";
import type { StoreAuth } from "../store/auth.js";

/** `auth` is undefined if the proxy has no user; then it logs no clients in. */
export function addAuthMetrics(
  metrics: Metrics,
  auth: Pick<StoreAuth, "callers" | "counts"> | undefined,
): void {
  metrics.counter(
    "braid_auth_logins_total",
    "Authenticate calls to shards, for clients and for the proxy. Each costs a shard some tens of milliseconds of CPU time.",
    () => [[{}, auth?.counts.authenticates ?? 0]],
  );
  metrics.gauge(
    "braid_auth_remembered",
    `Cached tokens and users. Above ${MAX_TOKENS} and ${MAX_SESSIONS}, the least recently used are dropped. Their next use ` +
      "costs a decryption, or a login at the shards.",
    () => [
      [{ kind: "tokens" }, auth?.callers.remembered.tokens ?? 0],
      [{ kind: "users" }, auth?.callers.remembered.users ?? 0],
    ],
  );
}
