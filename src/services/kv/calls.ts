import type { Call, Reply } from "../../rpc/call.js";
import type { CallOptions, Done, Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import type { KvLimits } from "./limits.js";

/*
 * One client call's calls to shards: the client's deadline and cancellation reach them. Callbacks, because a put or
 * a get of one key should cost no promise.
 */

/** `stale read`: any member may answer from the state that it has. */
export type CallKind = "read" | "stale read" | "write";

export function callOptions(call: Call, kind: CallKind, limits: KvLimits): CallOptions {
  return {
    idempotent: kind !== "write",
    mayLag: kind === "stale read",
    // Only here it makes a difference: everything else fails without a leader, if later.
    metadata: kind === "stale read" && call.metadata.get("hasleader") === "true" ? REQUIRE_LEADER : undefined,
    origin: call,
    caller: call.caller,
    // Without the client's deadline the shard's own holds, whose error names the shard.
    deadline:
      call.deadline !== Number.POSITIVE_INFINITY && call.deadline < Date.now() + limits.requestTimeoutMs
        ? call.deadline
        : undefined,
  };
}

const REQUIRE_LEADER = { hasleader: "true" };

/** Calls a shard; `done` is called exactly once, also when the client goes away meanwhile. */
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

/** `ask` as a promise, for what is not hot. Rejects with `StatusError`. */
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

/** What a call ends with that is cancelled, or whose deadline has passed. */
export function cancellation(call: Call): StatusError {
  if (Date.now() >= call.deadline) {
    return new StatusError(Code.DEADLINE_EXCEEDED, "context deadline exceeded");
  }
  return new StatusError(Code.CANCELLED, "context canceled");
}

/** What is told of a write that its shard has taken, but that got no revision because of `error`. What is lost may be that very write. */
export function unsealedWrite(error: StatusError): StatusError {
  if (error.code === Code.DATA_LOSS) return error;
  // What the append says of itself would be taken for this write.
  const [reason] = error.message.split("; whether ");
  return new StatusError(error.code, `${reason}; the write has taken effect`, { cause: error });
}

/** A promise's end as a callback. */
export function after(promise: Promise<unknown>, done: (error: StatusError | undefined) => void): void {
  promise.then(
    () => done(undefined),
    (reason) => done(StatusError.from(reason)),
  );
}

/** Runs one step of a handler; what it throws is the reply. A step must not throw after it has replied. */
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
