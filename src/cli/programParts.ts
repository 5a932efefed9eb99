import { InvalidArgumentError } from "commander";

/** Receives the exit code of the command. */
export type Finish = (code: number) => void;

export const CONFIG = ["-c, --config <file>", "configuration file", "shards.yaml"] as const;

export const EXIT_CODES = `
Exit codes:
  0  success
  1  the command failed
  2  the command line or the configuration is wrong; nothing was done`;

export function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count > 2 ** 50)
    throw new InvalidArgumentError("It must be a whole number of at least 0.");
  return count;
}

export function parseRate(text: string): number {
  const rate = Number(text);
  if (!(rate > 0 && rate <= 1e9)) throw new InvalidArgumentError("It must be a number above 0.");
  return rate;
}

export function parseShards(text: string): number {
  const shards = Number(text);
  if (!/^\d+$/.test(text) || shards < 1 || shards > 26) {
    throw new InvalidArgumentError("It must be a number from 1 to 26.");
  }
  return shards;
}

export function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65535) {
    throw new InvalidArgumentError("It must be a number from 1 to 65535.");
  }
  return port;
}
