import type { Call, Reply } from "../../rpc/call.js";
import type { CallOptions, Done, Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import type { KvLimits } from "./limits.js";

/*
 * Calls to shards on behalf of one client call. The client's deadline and cancellation apply to them. They take
 * callbacks, so that a put or get of one key costs no promise.
 */

/** A "stale read" may be answered by any member from the state it has. */
export type CallKind = "read" | "stale read" | "write";

export function callOptions(call: Call, kind: CallKind, limits: KvLimits): CallOptions {
  return {
    idempotent: kind !== "write",
    mayLag: kind === "stale read",
    // Other kinds fail without a leader anyway, if later.
    metadata: kind === "stale read" && call.metadata.get("hasleader") === "true" ? REQUIRE_LEADER : undefined,
    origin: call,
    caller: call.caller,
    // Where it is no earlier, the shard's own deadline applies, whose error names the shard.
    deadline:
      call.deadline !== Number.POSITIVE_INFINITY && call.deadline < Date.now() + limits.requestTimeoutMs
        ? call.deadline
        : undefined,
  };
}

const REQUIRE_LEADER = { hasleader: "true" };

/** Calls a shard. `done` is called exactly once, also when the client cancels. */
export function ask(
  call: Call,
  shard: Shard,
  path: string,
  request: Uint8Array,
  options: CallOptions,
  done: Done,
): void {
  if (call.cancelled) {
    done(cancellation(call), NO_RESPONSE);
    return;
  }
  let settled = false;
  let ignoreCancel: (() => void) | undefined;
  const cancelAtShard = shard.unary(path, request, options, (error, response) => {
    if (settled) return;
    settled = true;
    ignoreCancel?.();
    done(error, response);
  });
  if (settled) return;
  ignoreCancel = call.onCancel(() => {
    if (settled) return;
    settled = true;
    cancelAtShard();
    done(cancellation(call), NO_RESPONSE);
  });
}

/** `ask` as a promise, for calls that are not hot. Rejects with `StatusError`. */
export function askAsync(
  call: Call,
  shard: Shard,
  path: string,
  request: Uint8Array,
  options: CallOptions,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    ask(call, shard, path, request, options, (error, response) => {
      if (error === undefined) resolve(response);
      else reject(error);
    });
  });
}

const NO_RESPONSE = new Uint8Array(0);

/** The error of a call that was cancelled, or whose deadline has passed. */
export function cancellation(call: Call): StatusError {
  if (Date.now() >= call.deadline) {
    return new StatusError(Code.DEADLINE_EXCEEDED, "context deadline exceeded");
  }
  return new StatusError(Code.CANCELLED, "context canceled");
}

/** The error for a write that was applied but never sealed. It does not claim so after `DATA_LOSS`: the write may be lost. */
export function unsealedWrite(error: StatusError): StatusError {
  if (error.code === Code.DATA_LOSS) return error;
  // Cuts what the error says about the log entry, because it would be read as about this write.
  const [reason] = error.message.split("; whether ");
  return new StatusError(error.code, `${reason}; the write has taken effect`, { cause: error });
}

/** Calls `done` when `promise` settles. */
export function after(promise: Promise<unknown>, done: (error: StatusError | undefined) => void): void {
  promise.then(
    () => done(undefined),
    (reason) => done(StatusError.from(reason)),
  );
}

/** Runs one step of a handler, and replies with what it throws. A step must not throw after it has replied. */
export function attempt(reply: Reply, step: () => void): void {
  try {
    step();
  } catch (reason) {
    reply(StatusError.from(reason));
  }
}

/** Replies with what `make` returns or throws. */
export function answer(reply: Reply, make: () => Uint8Array): void {
  let response: Uint8Array;
  try {
    response = make();
  } catch (reason) {
    reply(StatusError.from(reason));
    return;
  }
  reply(undefined, response);
}

/** Replies with an async function's result. */
export function answerAsync(reply: Reply, make: () => Promise<Uint8Array>): void {
  make().then(
    (response) => reply(undefined, response),
    (reason) => reply(StatusError.from(reason)),
  );
}
