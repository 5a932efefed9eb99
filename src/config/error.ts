/** One thing that is wrong with a configuration. */
export interface Problem {
  /** Where, as in `shards[1].endpoints[0]`; empty for the file as a whole. */
  readonly path: string;
  /** Line of the file, from 1, where it is known. */
  readonly line: number | undefined;
  readonly message: string;
}

/** A configuration that cannot be used. Its message lists all problems, one a line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";

  /** `source` names the file (or whatever the text came from) for people. */
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
