import { randomBytes } from "node:crypto";
import type { Log } from "../ops/log.js";
import { LogGate } from "../ops/logGate.js";
import type { Call } from "../rpc/call.js";
import { Code, type StatusError, withDetail } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { Election, Lock } from "../wire/paths.js";
import { codeName } from "./metrics/calls.js";

/** Levels of errors that concern operators. All other errors are the client's, and logged at level `debug`. */
const LEVELS: Partial<Record<Code, "warn" | "error">> = {
  [Code.UNKNOWN]: "warn",
  [Code.DEADLINE_EXCEEDED]: "warn",
  [Code.RESOURCE_EXHAUSTED]: "warn",
  [Code.UNAVAILABLE]: "warn",
  [Code.INTERNAL]: "error",
  [Code.DATA_LOSS]: "error",
};

/** Methods that wait for other clients, and so are never reported as slow. */
const WAITING: ReadonlySet<string> = new Set([Lock.Lock, Election.Campaign]);
/** Longest request id in the log, in characters. */
const MAX_ID_LENGTH = 128;

/** Logs failed and slow calls. Of many similar lines, only some are written. */
export class CallLog {
  private readonly run = randomBytes(3).toString("hex");
  private counter = 0;
  private readonly gate: LogGate;

  constructor(
    private readonly log: Log,
    gate?: { readonly lines: number; readonly intervalMs: number },
  ) {
    const held = (kind: string, more: number) => log.warn({ kind, more }, "similar lines were left out");
    this.gate = new LogGate(held, gate?.lines, gate?.intervalMs);
  }

  /** For `CallObserver`. `ms` is the call's duration in milliseconds. */
  readonly report = (call: Call, error: StatusError | undefined, ms: number): void => {
    const { log } = this;
    if (error === undefined) {
      if (!WAITING.has(call.path) && this.gate.passes("slow"))
        log.warn(this.fields(call, error, ms), "slow request");
      return;
    }
    // When the proxy stops, every open call fails with this error.
    const level = etcd.stopped.is(error) ? "debug" : (LEVELS[error.code] ?? "debug");
    if (level === "debug") {
      if (log.isLevelEnabled("debug")) log.debug(this.fields(call, error, ms), "request failed");
    } else if (this.gate.passes(codeName(error.code))) {
      log[level](this.fields(call, error, ms), "request failed");
    }
  };

  private fields(call: Call, error: StatusError | undefined, ms: number): object {
    const { path, slowest, trace } = call;
    return {
      request: this.idOf(call),
      ...(trace && { trace }),
      method: path,
      code: codeName(error?.code ?? Code.OK),
      ms: Math.round(ms),
      ...(slowest && {
        shard: slowest.shard,
        endpoint: slowest.endpoint,
        shardMethod: slowest.path,
        shardMs: Math.round(slowest.ms),
        attempts: slowest.attempts,
      }),
      ...(error && { error: withDetail(error) }),
    };
  }

  /** The client's id for its request (`x-request-id`, or the trace of its `traceparent`), or else one of ours. */
  private idOf({ metadata }: Call): string {
    const given = metadata.get("x-request-id") ?? metadata.get("traceparent")?.split("-")[1];
    if (given !== undefined && /^[\x21-\x7e]+$/.test(given)) return given.slice(0, MAX_ID_LENGTH);
    return `${this.run}-${++this.counter}`;
  }
}
