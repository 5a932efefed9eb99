import { field } from "./field.js";
import { header } from "./header.js";
import { type MessageOf, message } from "./message.js";

/** Waits for a mutex. */
export const LockRequest = message({
  name: field.data(1),
  /** What the mutex is held under; 0: a new lease of 60 seconds. */
  lease: field.bigInt64(2),
});
export type LockRequest = MessageOf<typeof LockRequest>;

/** The mutex is held. */
export const LockResponse = message({
  header,
  /** Exists as long as the mutex is held; names it in an unlock. */
  key: field.data(2),
});
export type LockResponse = MessageOf<typeof LockResponse>;

/** Gives a mutex back. */
export const UnlockRequest = message({ key: field.data(1) });
export type UnlockRequest = MessageOf<typeof UnlockRequest>;

/** Answer to an unlock. */
export const UnlockResponse = message({ header });
export type UnlockResponse = MessageOf<typeof UnlockResponse>;
