/** Request metadata. The same object for the same fields is cheapest. */
export type CallMetadata = Readonly<Record<string, string>>;

/**
 * Whom calls are made for. Calls of one caller (`===`) have the same rights on every shard and may share their answers;
 * those of two callers never may.
 */
export interface Caller {
  /** How the caller gets at one shard (its index; -1 for a timeline host that is no shard). */
  access(shard: number): Access;
}

/** A caller's token for one shard. */
export interface Access {
  /** What a call has to carry, nothing where no token is needed. Undefined: call `renew` first. */
  readonly metadata: CallMetadata | undefined;
  /**
   * For a call that was refused with one of etcd's `problem`s when sent with `refused`, or that could not be sent yet
   * (both undefined). Resolves to true when `metadata` is worth a (further) try, to false when the refusal
   * stands; rejects with the `StatusError` for the call where there is no refusal to hand on. Those who wait for the
   * same renewal share it.
   */
  renew(refused: CallMetadata | undefined, problem: AccessProblem | undefined): Promise<boolean>;
}

/**
 * `token`: etcd does not know the token (any more). `stale`: users or roles have changed since the token was issued, or
 * just now. `missing`: there was no token.
 */
export type AccessProblem = "token" | "stale" | "missing";
