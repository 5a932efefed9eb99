/*
 * Ids of leases that only the proxies use. Clients can neither see, grant nor revoke them. The locks are on the timeline
 * host.
 */

/** Held while users and roles change (`services/auth/adminLock.ts`). */
export const ADMIN_LOCK = 0x627261696461646dn;
/** Held while a shard is defragmented (`services/maintenance/defragmentLock.ts`). */
export const DEFRAGMENT_LOCK = 0x6272616964646672n;
/** Never granted: a put with it fails (`services/kv/write.ts`). */
export const NEVER_GRANTED = 0x62726169646e6f6en;

/** First and last id of leases of the key that shows which proxy moves keys (`app/reshard/seat.ts`). */
const FIRST_SEAT = 0x6272616964730000n;
const LAST_SEAT = 0x627261696473ffffn;

/** An id for a lease of that key. `random` is in [0, 1). A proxy that lost its lease must not renew that of the next one. */
export const seatLease = (random: number): bigint => FIRST_SEAT + BigInt(Math.floor(random * 0x10000));

export const isReserved = (lease: bigint): boolean =>
  lease === ADMIN_LOCK ||
  lease === DEFRAGMENT_LOCK ||
  lease === NEVER_GRANTED ||
  (lease >= FIRST_SEAT && lease <= LAST_SEAT);

/** The id to use in a client's call for this lease. Reserved ids become 0, which no lease has. */
export const visible = (lease: bigint): bigint => (isReserved(lease) ? 0n : lease);
