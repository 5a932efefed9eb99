import { z } from "zod";
import { labelName, nonEmpty, positive, type ReadOnly } from "./fields.js";
import type { Find } from "./problems.js";

/** A metric's label values must stay few. */
export const MAX_TENANTS = 1_000;

/** More than a thousandth each second, so that a bucket fills in finite time. */
const rate = z.number().min(0.001).max(1e9).optional();

const limits = z.strictObject({
  putsPerSecond: rate.meta({
    description: "Puts and deletions a second, also those inside transactions.",
    absent: "no limit",
    live: true,
  }),
  rangesPerSecond: rate.meta({
    description: "Ranges a second, also those inside transactions.",
    absent: "no limit",
    live: true,
  }),
  transactionsPerSecond: rate.meta({
    description: "Transactions a second, nested ones too.",
    absent: "no limit",
    live: true,
  }),
  bytesInPerSecond: rate.meta({
    description: "Bytes of requests a second.",
    absent: "no limit",
    live: true,
  }),
  bytesOutPerSecond: rate.meta({
    description:
      "Bytes of responses a second, without events of watches. A response may exceed it; requests then wait for their turn.",
    absent: "no limit",
    live: true,
  }),
  burstSeconds: z.number().min(0.1).max(3600).default(2).meta({
    description:
      "How long a tenant that was quiet may save up: it can use this many seconds' worth of its limits at once.",
    unit: "seconds",
    live: true,
  }),
  watches: positive().optional().meta({
    description: "Open watches.",
    absent: "no limit",
    live: true,
  }),
  leases: positive().optional().meta({
    description: "Leases that are alive. A lease has no key, so this needs `user`.",
    absent: "no limit",
    live: true,
  }),
  maxValueBytes: positive().optional().meta({
    description: "Size of the largest value that may be put.",
    unit: "bytes",
    absent: "no limit",
    live: true,
  }),
  storedKeys: positive().optional().meta({
    description:
      "Keys that are stored under the prefix. While there are more, puts are refused. The proxy knows of a change about a second later.",
    absent: "no limit",
    live: true,
  }),
  storedBytes: positive().optional().meta({
    description:
      "Bytes of the keys and values that are stored under the prefix, without past versions. See `storedKeys`.",
    unit: "bytes",
    absent: "no limit",
    live: true,
  }),
});

const tenant = z.strictObject({
  name: labelName.meta({
    description: "Name of the tenant, in errors, logs and metrics.",
    form: "1 to 63 of A-Z a-z 0-9 . _ -, the first a letter or digit",
    live: true,
  }),
  prefix: nonEmpty.optional().meta({
    description: "Requests for keys that begin with this text count for the tenant.",
    form: "text of 1 to 1024 bytes",
    absent: "none",
    live: true,
  }),
  user: nonEmpty.optional().meta({
    description: "Requests of this user count for the tenant, whatever their keys.",
    form: "name of a user",
    absent: "none",
    live: true,
  }),
  mode: z.enum(["enforce", "observe"]).default("enforce").meta({
    description: "`observe` refuses nothing: metrics and the log show what `enforce` would refuse.",
    live: true,
  }),
  limits: limits.prefault({}).meta({ description: "The tenant's limits.", live: true }),
});

export const tenantsSchema = z
  .array(tenant)
  .max(MAX_TENANTS)
  .prefault([])
  .meta({
    description:
      "Teams that share the store, and their limits. A tenant has a `prefix`, a `user`, or both. Of several prefixes, the longest " +
      "one that contains a request's whole range applies. A request that concerns one tenant by its key and another by its user " +
      "counts for both, and passes only if neither is above a limit. Rates and counts are divided between the processes that serve " +
      "the store. See [Sharing a store](guides/sharing-a-store.md).",
    live: true,
    excerpts: [
      {
        tenants: [
          {
            name: "shop",
            prefix: "/shop/",
            user: "shop",
            limits: {
              putsPerSecond: 100,
              rangesPerSecond: 500,
              transactionsPerSecond: 50,
              bytesInPerSecond: 1_000_000,
              bytesOutPerSecond: 10_000_000,
              burstSeconds: 2,
              watches: 200,
              leases: 100,
              maxValueBytes: 65536,
              storedKeys: 100_000,
              storedBytes: 500_000_000,
            },
          },
          { name: "reports", user: "reports", mode: "observe", limits: { rangesPerSecond: 10 } },
        ],
      },
    ],
  });

type Shape = z.output<typeof tenantsSchema>;

/** A team that shares the store. `docs/configuration.md` explains the fields. */
export interface TenantConfig extends ReadOnly<Pick<Shape[number], "name" | "user" | "mode" | "limits">> {
  /** Undefined: only the user decides what counts for the tenant. */
  readonly prefix: Uint8Array | undefined;
}

export function resolveTenants(tenants: Shape, find: Find): TenantConfig[] {
  const owners = new Map<string, number>();
  const claim = (what: "name" | "prefix" | "user", value: string, i: number) => {
    const first = owners.get(`${what} ${value}`);
    if (first === undefined) owners.set(`${what} ${value}`, i);
    else find(["tenants", i, what], `is already the ${what} of tenants[${first}]`);
  };
  return tenants.map(({ prefix: text, ...tenant }, i) => {
    const { name, user, limits } = tenant;
    claim("name", name, i);
    if (user !== undefined) claim("user", user, i);
    const prefix = text === undefined ? undefined : Uint8Array.from(Buffer.from(text));
    if (text !== undefined) claim("prefix", text, i);
    else if (user === undefined) find(["tenants", i], "needs a prefix or a user");
    if (prefix !== undefined && prefix.length > 1024)
      find(["tenants", i, "prefix"], "must have at most 1024 bytes");
    if (prefix?.[0] === 0) find(["tenants", i, "prefix"], "keys that begin with a zero byte are reserved");
    if (limits.leases !== undefined && user === undefined)
      find(["tenants", i, "limits", "leases"], "needs a user, because a lease has no key");
    for (const limit of ["storedKeys", "storedBytes"] as const)
      if (limits[limit] !== undefined && prefix === undefined)
        find(["tenants", i, "limits", limit], "needs a prefix, because a key does not say who has put it");
    return { ...tenant, prefix };
  });
}
