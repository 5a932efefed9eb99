/** Request metadata. Encoded headers are cached per object, so reuse objects. */
export type CallMetadata = Readonly<Record<string, string>>;

/**
 * The identity that calls are made for. Calls of the same caller (`===`) have the same permissions on every shard,
 * and may share answers. Calls of different callers never share.
 */
export interface Caller {
  /** Name of the user, where the caller is a client that has logged in. */
  readonly user?: string;
  /** Returns the caller's access to a shard, by index; -1 is a timeline host that is not a shard. */
  access(shard: number): Access;
}

/** A caller's token for one shard. */
export interface Access {
  /** Metadata for each call, without a token where none is needed. If it is undefined, call `renew` first. */
  readonly metadata: CallMetadata | undefined;
  /**
   * Renews `metadata` after a call was refused with `problem` when sent with `refused`, or before a call can be
   * sent (both undefined). Resolves to true if the call should be tried again, and to false if the refusal stands.
   * Rejects with a `StatusError` for the call if the renewal fails. Concurrent calls share a renewal.
   */
  renew(refused: CallMetadata | undefined, problem: AccessProblem | undefined): Promise<boolean>;
}

/**
 * `token`: etcd does not know the token, or no longer. `stale`: users or roles have changed since it was issued.
 * `missing`: there was no token.
 */
export type AccessProblem = "token" | "stale" | "missing";
