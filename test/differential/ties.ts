import type { Message } from "./client.js";
import { list } from "./extents.js";

/**
 * Up to so many keys Go sorts by insertion, which leaves keys that tie in key order. Beyond, their order is
 * whatever its sort happens to make of it, and at a limit so is the choice among them.
 */
const STABLE = 12;

const FIELDS: Record<string, string> = {
  VERSION: "version",
  CREATE: "create_revision",
  MOD: "mod_revision",
  VALUE: "value",
};

/** Takes from a sorted Range's answer the order among keys that tie, where etcd leaves it to chance. */
export function forgetTies(request: Message, response: Message): void {
  const field = FIELDS[String(request.sort_target)];
  const kvs = list(response.kvs);
  if (field === undefined || Number(response.count) <= STABLE || kvs.length === 0) return;
  const last = kvs[kvs.length - 1][field];
  const ordered: Message[] = [];
  let tied: Message[] = [];
  for (const [i, kv] of kvs.entries()) {
    // Which of those that tie at the limit are in is chance too.
    tied.push(response.more && kv[field] === last ? { [field]: last } : kv);
    if (i + 1 < kvs.length && kvs[i + 1][field] === kv[field]) continue;
    ordered.push(...tied.sort((a, b) => (String(a.key) < String(b.key) ? -1 : 1)));
    tied = [];
  }
  response.kvs = ordered;
}

/** The same for all Ranges of a transaction that were executed. */
export function forgetTiesInTxn(request: Message, response: Message): void {
  const ops = list(response.succeeded ? request.success : request.failure);
  for (const [i, answer] of list(response.responses).entries()) {
    const { response_range, response_txn } = answer as Record<string, Message | undefined>;
    if (response_range) forgetTies(ops[i].request_range as Message, response_range);
    if (response_txn) forgetTiesInTxn(ops[i].request_txn as Message, response_txn);
  }
}
