import type { Router } from "../../src/routing/router.js";
import type { Message } from "./client.js";

/** `[key, end)` by etcd's rules, latin1. */
export interface Extent {
  readonly key: string;
  readonly end: string;
}

export function extentOf(request: Message): Extent {
  return { key: String(request.key ?? ""), end: String(request.range_end ?? "") };
}

export function holdsKey({ key, end }: Extent, candidate: string): boolean {
  if (end === "") return candidate === key;
  return candidate >= key && (end === "\0" || candidate < end);
}

/** The end of the range of all keys that begin with `prefix`. */
export function prefixEnd(prefix: string): string {
  const kept = prefix.replace(/\xff+$/, "");
  if (kept === "") return "\0";
  return kept.slice(0, -1) + String.fromCharCode(kept.charCodeAt(kept.length - 1) + 1);
}

export function shardsOf(router: Router, { key, end }: Extent): readonly number[] {
  if (end === "" && key.startsWith("\0")) return [];
  return router.shardsOf(Buffer.from(key, "latin1"), Buffer.from(end, "latin1"));
}

export function shardOf(router: Router, key: string): number {
  return router.shardOf(Buffer.from(key, "latin1"));
}

/** What a transaction touches in all its branches. */
export function txnReach(router: Router, txn: Message): { shards: Set<number>; writes: boolean } {
  const reach = { shards: new Set<number>(), writes: false };
  const visit = (request: Message): void => {
    const touch = (extent: Extent, write: boolean) => {
      const shards = shardsOf(router, extent);
      for (const shard of shards) reach.shards.add(shard);
      if (write && shards.length > 0) reach.writes = true;
    };
    for (const compare of list(request.compare)) touch(extentOf(compare), false);
    for (const op of [...list(request.success), ...list(request.failure)]) {
      if (op.request_range) touch(extentOf(op.request_range as Message), false);
      if (op.request_put) touch(extentOf(op.request_put as Message), true);
      if (op.request_delete_range) touch(extentOf(op.request_delete_range as Message), true);
      if (op.request_txn) visit(op.request_txn as Message);
    }
  };
  visit(txn);
  return reach;
}

export function list(value: unknown): Message[] {
  return (value as Message[] | undefined) ?? [];
}
