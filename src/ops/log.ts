import { type DestinationStream, destination, type Level, type Logger as PinoLogger, pino } from "pino";

/** The log of the process. Structured fields come first, then the message: `log.warn({ shard }, "lost")`. */
export type Log = PinoLogger;

/** The part of `Log` that rooms below `app` need. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Fields that are never written, at the top level or one level down. */
const SECRETS = ["password", "token", "authorization", "credentials"];

const LEVEL_NAMES: Record<number, string> = {
  10: "TRACE",
  20: "DEBUG",
  30: "INFO",
  40: "WARN",
  50: "ERROR",
  60: "FATAL",
};

/**
 * Creates a log on standard error, as readable lines on a terminal and as JSON otherwise. Writes are synchronous, so
 * that the last lines before an exit are not lost. `output` is for tests.
 */
export function createLog(level: Level | "silent", output: DestinationStream = standardError()): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: "[redacted]" },
    },
    output,
  );
}

function standardError(): DestinationStream {
  const raw = destination({ fd: 2, sync: true });
  if (!process.stderr.isTTY) return raw;
  return { write: (line: string) => raw.write(`${readable(line)}\n`) };
}

/** Formats one of pino's JSON lines as `12:34:56.789 WARN  text  field=value`. */
export function readable(line: string): string {
  const { level, time, msg = "", ...fields } = JSON.parse(line) as Record<string, unknown>;
  const clock = String(time).slice(11, 23);
  const name = (LEVEL_NAMES[Number(level)] ?? String(level)).padEnd(5);
  const rest = Object.entries(fields).map(([key, value]) => `  ${key}=${fieldText(value)}`);
  return `${clock} ${name} ${msg}${rest.join("")}`;
}

function fieldText(value: unknown): string {
  if (typeof value === "string") return /^[\w.:/-]+$/.test(value) ? value : JSON.stringify(value);
  // pino writes errors as {type, message, stack}. Readers want the message.
  if (value !== null && typeof value === "object" && "stack" in value && "message" in value)
    return JSON.stringify(value.message);
  return JSON.stringify(value);
}
