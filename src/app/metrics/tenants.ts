import type { Metrics } from "../../ops/prometheus.js";
import type { Sample } from "../../ops/samples.js";
import { LIMITS, type Tenant } from "../../tenants/tenant.js";
import type { Tenants } from "../../tenants/tenants.js";

/** Metrics by tenant of the configuration, so that their number is that of the tenants. */
export function addTenantMetrics(metrics: Metrics, tenants: Tenants): void {
  const each = (samples: (tenant: Tenant, labels: { tenant: string }) => Sample[]) => () =>
    [...tenants.all()].flatMap((tenant) => samples(tenant, { tenant: tenant.name }));
  metrics.counter(
    "braid_tenant_operations_total",
    "Operations of a tenant that its limits let pass: puts (with deletions), ranges, transactions.",
    each(({ used }, labels) => [
      [{ ...labels, operation: "put" }, used.puts],
      [{ ...labels, operation: "range" }, used.ranges],
      [{ ...labels, operation: "transaction" }, used.transactions],
    ]),
  );
  metrics.counter(
    "braid_tenant_bytes_total",
    "Bytes of a tenant's requests (in) and responses (out), without watches.",
    each(({ used }, labels) => [
      [{ ...labels, direction: "in" }, used.bytesIn],
      [{ ...labels, direction: "out" }, used.bytesOut],
    ]),
  );
  metrics.counter(
    "braid_tenant_exceeded_total",
    "Requests above a limit of a tenant. They were refused, unless the tenant's mode is observe.",
    each(({ exceeded, config }, labels) =>
      LIMITS.filter((limit) => config.limits[limit] !== undefined || exceeded[limit] > 0).map(
        (limit): Sample => [{ ...labels, limit }, exceeded[limit]],
      ),
    ),
  );
  metrics.gauge(
    "braid_tenant_watches",
    "Open watches of a tenant.",
    each(({ openWatches }, labels) => [[labels, openWatches]]),
  );
  metrics.gauge(
    "braid_tenant_stored_keys",
    "Keys under a tenant's prefix when they were counted last, without those of longer prefixes.",
    each(({ stored }, labels) => (stored === undefined ? [] : [[labels, stored.keys]])),
    "max",
  );
  metrics.gauge(
    "braid_tenant_stored_bytes",
    "Bytes of these keys and their values.",
    each(({ stored }, labels) => (stored === undefined ? [] : [[labels, stored.bytes]])),
    "max",
  );
  metrics.gauge(
    "braid_tenant_stored_age_seconds",
    "Time since this count began.",
    each(({ stored }, labels) =>
      stored === undefined ? [] : [[labels, Math.max(0, Date.now() - stored.at) / 1_000]],
    ),
    "max",
  );
  metrics.gauge(
    "braid_tenant_leases",
    "Leases of a tenant's user that were granted or renewed through this proxy and are alive.",
    each((tenant, labels) => {
      tenants.leases.sweep(tenant, tenants.now());
      return [[labels, tenant.liveLeases]];
    }),
  );
}
