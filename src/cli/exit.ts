/** What the exit code of `braid` means. */
export const Exit = {
  ok: 0,
  /** It was tried and did not work. */
  failure: 1,
  /** The command line or the configuration is wrong: nothing was tried. */
  usage: 2,
} as const;

/** An error that is told in its message alone, without a stack, and ends the command with `code`. */
export class CommandError extends Error {
  override readonly name = "CommandError";

  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}
