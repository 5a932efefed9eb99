import type { Nested } from "./codec.js";
import { field } from "./field.js";
import { header } from "./header.js";
import { type MessageOf, message } from "./message.js";

/** Creates a lease. */
export const LeaseGrantRequest = message({
  /** Wanted time to live, seconds. */
  ttl: field.int64(1),
  /** 0: the server chooses. */
  id: field.bigInt64(2),
});
export type LeaseGrantRequest = MessageOf<typeof LeaseGrantRequest>;

/** Answer to a grant. */
export const LeaseGrantResponse = message({
  header,
  id: field.bigInt64(2),
  /** Seconds granted. */
  ttl: field.int64(3),
  error: field.text(4),
});
export type LeaseGrantResponse = MessageOf<typeof LeaseGrantResponse>;

/** Ends a lease and deletes its keys. */
export const LeaseRevokeRequest = message({ id: field.bigInt64(1) });
export type LeaseRevokeRequest = MessageOf<typeof LeaseRevokeRequest>;

/** Answer to a revocation. */
export const LeaseRevokeResponse = message({ header });
export type LeaseRevokeResponse = MessageOf<typeof LeaseRevokeResponse>;

/** Renews a lease. */
export const LeaseKeepAliveRequest = message({ id: field.bigInt64(1) });
export type LeaseKeepAliveRequest = MessageOf<typeof LeaseKeepAliveRequest>;

/** Answer to a keep-alive. */
export const LeaseKeepAliveResponse = message({
  header,
  id: field.bigInt64(2),
  /** Seconds from now; 0 or less: the lease is gone. */
  ttl: field.int64(3),
});
export type LeaseKeepAliveResponse = MessageOf<typeof LeaseKeepAliveResponse>;

/** Asks how long a lease has. */
export const LeaseTimeToLiveRequest = message({
  id: field.bigInt64(1),
  /** Whether to list its keys. */
  keys: field.bool(2),
});
export type LeaseTimeToLiveRequest = MessageOf<typeof LeaseTimeToLiveRequest>;

/** Answer to a time-to-live request. */
export const LeaseTimeToLiveResponse = message({
  header,
  id: field.bigInt64(2),
  /** Seconds left; -1: the lease is gone. */
  ttl: field.int64(3),
  /** Seconds of a full term. */
  grantedTtl: field.int64(4),
  keys: field.datas(5),
});
export type LeaseTimeToLiveResponse = MessageOf<typeof LeaseTimeToLiveResponse>;

/** Lists all leases. */
export const LeaseLeasesRequest = message({});
export type LeaseLeasesRequest = MessageOf<typeof LeaseLeasesRequest>;

/** A lease in a listing: nothing but its id. */
const LeaseStatus: Nested<bigint> = {
  read(r) {
    let id = 0n;
    while (r.more()) {
      const tag = r.tag();
      if (tag === 0x08) id = r.bigInt64();
      else r.skip(tag, 1);
    }
    return id;
  },
  write: (w, id) => w.big64(0x08, id),
};

/** Answer to a listing: the ids of all leases. */
export const LeaseLeasesResponse = message({ header, leases: field.messages(2, LeaseStatus) });
export type LeaseLeasesResponse = MessageOf<typeof LeaseLeasesResponse>;
