import type { Nested } from "./codec.js";
import * as tags from "./generated/tags.js";

const { id: ID } = tags.LeaseStatus;

/** A lease in a list of leases, which has only an id. */
export const LeaseStatus: Nested<bigint> = {
  read(r) {
    let id = 0n;
    while (r.more()) {
      const tag = r.tag();
      if (tag === ID) id = r.bigInt64();
      else r.skip(tag, 1);
    }
    return id;
  },
  write: (w, id) => w.big64(ID, id),
};
