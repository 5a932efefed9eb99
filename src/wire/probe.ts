import { NO_KEY } from "./keyRange.js";
import { RangeRequest } from "./messages.js";

/**
 * A read of a key that nobody has. Its answer is empty but for the header, which says where the cluster stands; and
 * whether it is answered at all shows that the cluster serves, and what the caller may do.
 */
export const PROBE = RangeRequest.encode({ key: NO_KEY, countOnly: true });

/** The same at a revision of the cluster: refused where that is compacted, or in the future. */
export const probeAt = (revision: number): Uint8Array =>
  RangeRequest.encode({ key: NO_KEY, countOnly: true, revision });
