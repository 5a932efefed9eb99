/*
 * Leases on the timeline host that the proxies use as locks. Clients can neither see nor revoke them.
 */

/** Held while users and roles change (`services/auth/adminLock.ts`). */
export const ADMIN_LOCK = 0x627261696461646dn;
/** Held while a shard is defragmented (`services/maintenance/defragmentLock.ts`). */
export const DEFRAGMENT_LOCK = 0x6272616964646672n;

export const isReserved = (lease: bigint): boolean => lease === ADMIN_LOCK || lease === DEFRAGMENT_LOCK;

/** The id to use in a client's call for this lease. Reserved ids become 0, which no lease has. */
export const visible = (lease: bigint): bigint => (isReserved(lease) ? 0n : lease);
