import type { Values } from "../../ops/prometheus.js";

/** From a worker to its primary. */
export type FromWorker =
  /** It serves, at `host:port` each. */
  | { readonly kind: "serving"; readonly addresses: readonly string[] }
  /** Somebody asks this worker for the metrics of all. */
  | { readonly kind: "metrics"; readonly id: number }
  /** This worker's part of an answer. */
  | { readonly kind: "values"; readonly id: number; readonly values: Values };

/** From the primary to a worker. */
export type ToWorker =
  /** The worker's own values are wanted. */
  | { readonly kind: "collect"; readonly id: number }
  /** The metrics of all workers, in Prometheus' text format. */
  | { readonly kind: "metrics"; readonly id: number; readonly text: string };

/** What the primary tells a worker in its environment. */
export interface Post {
  /** From 1 on; the one that replaces a crashed worker has the same. */
  readonly worker: number;
  /** `host:port` each, with the ports that all workers share. */
  readonly listen: readonly string[];
}

/** The environment variable that holds the `Post`, as JSON. */
export const POST_VARIABLE = "BRAID_WORKER";

/** This process's post; undefined when it is no worker. */
export function readPost(environment: NodeJS.ProcessEnv = process.env): Post | undefined {
  const text = environment[POST_VARIABLE];
  return text === undefined ? undefined : JSON.parse(text);
}
