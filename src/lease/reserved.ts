/**
 * The lease on the timeline host that is the lock of those who change users and roles (`services/auth/lock.ts`). It
 * is no client's: clients neither see nor end it.
 */
export const ADMIN_LOCK = 0x627261696461646dn;
