/*
 * Leases on the timeline host that are locks of the proxies. They are no client's: clients neither see nor end them.
 */

/** Of those who change users and roles (`services/auth/lock.ts`). */
export const ADMIN_LOCK = 0x627261696461646dn;
/** Of those who defragment (`services/maintenance/defragmentLock.ts`). */
export const DEFRAGMENT_LOCK = 0x6272616964646672n;

export const isReserved = (lease: bigint): boolean => lease === ADMIN_LOCK || lease === DEFRAGMENT_LOCK;

/** The id under which shards are asked for a client's lease: 0, which no lease has, for those that are no client's. */
export const visible = (lease: bigint): bigint => (isReserved(lease) ? 0n : lease);
