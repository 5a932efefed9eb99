import assert from "node:assert/strict";
import { Scrape } from "../ops/scrape.js";
import type { TestStore } from "../support/store.js";

/** Clients that try the limits of tenants. Each has tenants of its own, whose names begin with this. */
export const LIMITED_CLIENTS = ["go35", "go36", "gateway"] as const;
export type LimitedClient = (typeof LIMITED_CLIENTS)[number];

// Rates are so low that nothing is added while a client runs: a tenant may make 10 calls.
const ten = (rate: string) => ({ burstSeconds: 1000, [rate]: 0.01 });

export const TENANTS = [
  ...LIMITED_CLIENTS.flatMap((client) => {
    const tenant = (kind: string, limits: object) => ({
      name: `${client}-${kind}`,
      prefix: `/${client}-${kind}/`,
      limits,
    });
    return [
      tenant("puts", ten("putsPerSecond")),
      tenant("ranges", ten("rangesPerSecond")),
      tenant("transactions", ten("transactionsPerSecond")),
      tenant("watches", { watches: 3 }),
      tenant("locks", { watches: 1 }),
      tenant("soon", { burstSeconds: 3, putsPerSecond: 1 }),
    ];
  }),
  { name: "apisix", prefix: "/apisix/", limits: { burstSeconds: 3, rangesPerSecond: 1, watches: 2 } },
];

/** What a client's tenant has used and what it was refused, as the proxy has counted. */
interface Count {
  readonly used?: number;
  readonly refused: number;
}

/**
 * Compares the proxy's counters with the calls that the program has made. A client that tries again by itself would have
 * been refused more often.
 */
export async function checkCounts(store: TestStore, client: LimitedClient): Promise<void> {
  const metrics = await Scrape.of(`http://${store.endpoint}/metrics`);
  const count = (kind: string, limit: string, operation?: string): Count => {
    const tenant = `${client}-${kind}`;
    const refused = metrics.sum("braid_tenant_exceeded_total", { tenant, limit });
    if (operation === undefined) return { refused };
    return { used: metrics.sum("braid_tenant_operations_total", { tenant, operation }), refused };
  };
  // 36 calls each; Go also tries a deletion. Of 14 watches, 3 are opened.
  assert.deepEqual(
    {
      puts: count("puts", "putsPerSecond", "put"),
      ranges: count("ranges", "rangesPerSecond", "range"),
      transactions: count("transactions", "transactionsPerSecond", "transaction"),
      watches: count("watches", "watches"),
    },
    {
      puts: { used: 10, refused: client === "gateway" ? 26 : 27 },
      ranges: { used: 10, refused: 26 },
      transactions: { used: 10, refused: 26 },
      watches: { refused: 11 },
    },
  );
}
