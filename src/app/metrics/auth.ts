import { MAX_SESSIONS, MAX_TOKENS } from "../../auth/callers.js";
import type { Metrics } from "../../ops/prometheus.js";
import type { StoreAuth } from "../store/auth.js";

/** `auth` is undefined where the proxy has no user of its own, and so logs nobody in. */
export function addAuthMetrics(
  metrics: Metrics,
  auth: Pick<StoreAuth, "callers" | "counts"> | undefined,
): void {
  metrics.counter(
    "braid_auth_logins_total",
    "Authenticate calls to shards, of clients and of the proxy itself: each costs a shard much processor time.",
    () => [[{}, auth?.counts.authenticates ?? 0]],
  );
  metrics.gauge(
    "braid_auth_remembered",
    `Tokens in use and users that the proxy remembers. Beyond ${MAX_TOKENS} and ${MAX_SESSIONS} it begins to forget those not ` +
      "used for longest: they cost a decryption, and a login at the shards, when they come back.",
    () => [
      [{ kind: "tokens" }, auth?.callers.remembered.tokens ?? 0],
      [{ kind: "users" }, auth?.callers.remembered.users ?? 0],
    ],
  );
}
