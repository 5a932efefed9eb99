import { NO_KEY } from "./keyRange.js";
import { RangeRequest } from "./messages.js";

/**
 * A linearizable read of a key that is never written. The response has only a header, with the cluster's revision. The
 * outcome shows whether the cluster serves, and what the caller may do.
 */
export const PROBE = RangeRequest.encode({ key: NO_KEY, countOnly: true });

/** `PROBE` at a revision of the cluster. etcd refuses revisions that are compacted or in the future. */
export const probeAt = (revision: number): Uint8Array =>
  RangeRequest.encode({ key: NO_KEY, countOnly: true, revision });
