/** gRPC status codes, as numbered by the gRPC specification. */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type Code = (typeof Code)[keyof typeof Code];

/**
 * The only error type that leaves a service: a gRPC code and the text that the client sees.
 *
 * `message` is etcd's exact text where etcd has one for the condition: clients compare it.
 */
export class StatusError extends Error {
  override readonly name = "StatusError";
  /** For operators only, such as addresses. Clients never see it. */
  readonly detail: string | undefined;

  constructor(
    readonly code: Code,
    message: string,
    options?: { cause?: unknown; detail?: string | undefined },
  ) {
    super(message, options);
    this.detail = options?.detail;
  }

  /** Returns `reason` if it is a `StatusError`, else an INTERNAL error with `reason` as its cause. */
  static from(reason: unknown): StatusError {
    if (reason instanceof StatusError) return reason;
    const text = reason instanceof Error ? reason.message : String(reason);
    return new StatusError(Code.INTERNAL, text, { cause: reason });
  }
}

/** Returns an error's text for the log and the command line, with the first `detail` along its chain of causes. */
export function withDetail(error: unknown): string {
  const { message } = StatusError.from(error);
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof StatusError && at.detail !== undefined) return `${message} (${at.detail})`;
  }
  return message;
}
