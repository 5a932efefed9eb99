/** One problem of a configuration. */
export interface Problem {
  /** The setting, for example `shards[1].endpoints[0]`; empty for the file as a whole. */
  readonly path: string;
  /** Line of the file, from 1; undefined if it is not known. */
  readonly line: number | undefined;
  readonly message: string;
}

/** An invalid configuration. Its message lists all problems, one per line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";

  /** `source` names the file, or another source of the text, in the message. */
  constructor(
    readonly source: string,
    readonly problems: readonly Problem[],
    options?: { cause?: unknown },
  ) {
    super([`${source} cannot be used:`, ...problems.map(describe)].join("\n  "), options);
  }
}

function describe({ path, line, message }: Problem): string {
  return `${path === "" ? "" : `${path}: `}${message}${line === undefined ? "" : ` (line ${line})`}`;
}
