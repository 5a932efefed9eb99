import type { Values } from "../../ops/prometheus.js";
import type { Stored } from "../../tenants/tenant.js";

/** From a worker to its primary. */
export type FromWorker =
  /** The worker serves at these addresses, `host:port` each. */
  | { readonly kind: "serving"; readonly addresses: readonly string[] }
  /** This worker needs the metrics of all workers for a scrape. */
  | { readonly kind: "metrics"; readonly id: number }
  /** This worker's metrics. */
  | { readonly kind: "values"; readonly id: number; readonly values: Values }
  /** What this worker has counted of each tenant, for the others. */
  | StoredMessage;

/** From the primary to a worker. */
export type ToWorker =
  /** Requests the worker's metrics. */
  | { readonly kind: "collect"; readonly id: number }
  /** The metrics of all workers, in Prometheus' text format. */
  | { readonly kind: "metrics"; readonly id: number; readonly text: string }
  | StoredMessage;

/** What is stored of each tenant, by name. */
export interface StoredMessage {
  readonly kind: "stored";
  readonly stored: Readonly<Record<string, Stored>>;
}

/** What the primary passes to a worker in its environment. */
export interface Post {
  /** From 1; a worker that replaces a crashed one has the same number. */
  readonly worker: number;
  /** `host:port` each, with the ports that all workers share. */
  readonly listen: readonly string[];
}

/** The environment variable that holds the `Post`, as JSON. */
export const POST_VARIABLE = "BRAID_WORKER";

/** This process's post; undefined if it is not a worker. */
export function readPost(environment: NodeJS.ProcessEnv = process.env): Post | undefined {
  const text = environment[POST_VARIABLE];
  return text === undefined ? undefined : JSON.parse(text);
}
