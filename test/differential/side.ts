import type { EtcdClient } from "./client.js";
import type { LeaseNames } from "./ops.js";

/** One endpoint under comparison. */
export interface Side {
  readonly client: EtcdClient;
  readonly leases: LeaseNames;
  /** The endpoint of a watch stream. */
  watchClient(stream: number): EtcdClient;
}

/** The plain etcd. */
export interface PlainSide extends Side {
  /** etcd's metrics. */
  metrics(): Promise<string>;
}

/** The two endpoints have answered differently, or the store as one etcd never would. */
export class Difference extends Error {}
