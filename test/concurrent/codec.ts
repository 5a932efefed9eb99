import type { Message, Answer as Reply, UnaryMethod } from "../differential/client.js";
import type { Answer, Change, Compare, Frame, KeepAlive, Kv, Op, Outcome, Step } from "./history.js";

/** etcd's API in the words of a history, both ways. */

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");
const text = (value: unknown): string => (Buffer.isBuffer(value) ? value.toString("latin1") : "");
const number = (value: unknown): number => Number(value ?? 0);
const list = (value: unknown): readonly Message[] => (value ?? []) as Message[];

/** The unary call that an operation is; keep-alives go over a stream. */
export function toCall(op: Exclude<Op, KeepAlive>): [UnaryMethod, Message] {
  switch (op.kind) {
    case "put":
      return ["Put", stepRequest(op)];
    case "range":
      return ["Range", stepRequest(op)];
    case "delete":
      return ["DeleteRange", stepRequest(op)];
    case "txn":
      return [
        "Txn",
        {
          compare: op.compares.map(compareRequest),
          success: op.success.map(innerRequest),
          failure: op.failure.map(innerRequest),
        },
      ];
    case "compact":
      return ["Compact", { revision: op.revision }];
    case "grant":
      return ["LeaseGrant", { TTL: op.ttl, ID: op.id }];
    case "revoke":
      return ["LeaseRevoke", { ID: op.id }];
  }
}

function stepRequest(step: Step): Message {
  if (step.kind === "put") {
    return { key: bytes(step.key), value: bytes(step.value), lease: step.lease, prev_kv: true };
  }
  // An empty end that is on the wire has another meaning than none.
  const range = { key: bytes(step.key), ...(step.end === "" ? {} : { range_end: bytes(step.end) }) };
  if (step.kind === "delete") return { ...range, prev_kv: true };
  return { ...range, revision: step.revision, limit: step.limit, serializable: step.serializable };
}

const FIELDS = { put: "request_put", range: "request_range", delete: "request_delete_range" } as const;

const innerRequest = (step: Step): Message => ({ [FIELDS[step.kind]]: stepRequest(step) });

function compareRequest({ key, target, result, operand }: Compare): Message {
  const field = target === "create" || target === "mod" ? `${target}_revision` : target;
  const value = typeof operand === "string" ? bytes(operand) : operand;
  return { key: bytes(key), target: target.toUpperCase(), result, [field]: value };
}

/** grpc-js's own words for a call that was never sent. */
const NEVER_SENT = "No connection established";
/** Codes of what the server has refused: without effect. */
const REFUSALS = new Set([3, 5, 9, 11, 12]);

/** What a reply says of an operation's outcome. */
export function toOutcome(op: Op, { code, message, response }: Reply): Outcome {
  if (response === undefined) {
    const refused = REFUSALS.has(code) || (code === 14 && message.startsWith(NEVER_SENT));
    return { kind: refused ? "refused" : "unknown", code, message };
  }
  const header = (response.header ?? {}) as Message;
  return {
    kind: "answered",
    revision: number(header.revision),
    cluster: String(header.cluster_id),
    term: number(header.raft_term),
    answer: toAnswer(op, response),
  };
}

function toAnswer(op: Op, response: Message): Answer {
  switch (op.kind) {
    case "put":
      return { kind: "put", prev: response.prev_kv ? toKv(response.prev_kv as Message) : null };
    case "range":
      return {
        kind: "range",
        kvs: list(response.kvs).map(toKv),
        count: number(response.count),
        more: response.more === true,
      };
    case "delete":
      return {
        kind: "delete",
        deleted: number(response.deleted),
        prev: list(response.prev_kvs).map(toKv),
      };
    case "txn": {
      const succeeded = response.succeeded === true;
      const steps = succeeded ? op.success : op.failure;
      const inner = list(response.responses);
      const answers = steps.map((step, i) => {
        const found = inner[i]?.[FIELDS[step.kind].replace("request", "response")];
        return toAnswer(step, (found ?? {}) as Message);
      });
      return { kind: "txn", succeeded, answers };
    }
    case "compact":
      return { kind: "compact" };
    default:
      return { kind: "lease", ttl: number(response.TTL) };
  }
}

export function toKv(kv: Message): Kv {
  return {
    key: text(kv.key),
    value: text(kv.value),
    create: number(kv.create_revision),
    mod: number(kv.mod_revision),
    version: number(kv.version),
    lease: String(kv.lease ?? "0"),
  };
}

function toChange(event: Message): Change {
  return {
    type: event.type === "DELETE" ? "delete" : "put",
    kv: toKv(event.kv as Message),
    prev: event.prev_kv ? toKv(event.prev_kv as Message) : null,
  };
}

export function toFrame(response: Message, at: number): Frame {
  return {
    at,
    revision: number((response.header as Message | undefined)?.revision),
    created: response.created === true,
    canceled: response.canceled === true,
    compactRevision: number(response.compact_revision),
    reason: String(response.cancel_reason ?? ""),
    events: list(response.events).map(toChange),
  };
}
