/** Exit codes of `braid`. */
export const Exit = {
  ok: 0,
  /** The command failed. */
  failure: 1,
  /** The command line or the configuration is wrong: nothing was done. */
  usage: 2,
  /** `braid plan` has found changes. */
  changes: 3,
} as const;

/** An error that ends the command with `code`, and is printed without a stack. */
export class CommandError extends Error {
  override readonly name = "CommandError";

  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}
