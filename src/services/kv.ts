import type { UnaryHandler } from "../rpc/call.js";
import { NONE, type Service } from "../rpc/service.js";
import { KV } from "../wire/paths.js";
import { Compactor } from "./kv/compact.js";
import { createContext, type KvDeps } from "./kv/context.js";
import { deleteRangeHandler } from "./kv/deleteRange.js";
import { judged, mayMake } from "./kv/judge.js";
import { putHandler } from "./kv/put.js";
import { rangeHandler } from "./kv/range.js";
import { sharing } from "./kv/sharing.js";
import { limited } from "./kv/tenants.js";
import { txnHandler } from "./kv/txn.js";

export type { KvDeps, LeasePlacer } from "./kv/context.js";
export type { GenKey } from "./kv/gen.js";
export type { KvLimits } from "./kv/limits.js";

/** etcd's KV service over the shards. */
export function createKv(deps: KvDeps): Service {
  const context = createContext(deps);
  const compactor = new Compactor(context);
  const handler = (path: string, given: UnaryHandler) => judged(context, path, given);
  const { tenants } = deps;
  const entry = (path: string, given: UnaryHandler): [string, UnaryHandler] => {
    if (tenants === undefined) return [path, given];
    return [path, limited(tenants, path, given, (call, request) => mayMake(context, call, path, request))];
  };
  return {
    unary: new Map([
      entry(KV.Range, sharing(handler(KV.Range, rangeHandler(context)))),
      entry(KV.Put, handler(KV.Put, putHandler(context))),
      entry(KV.DeleteRange, handler(KV.DeleteRange, deleteRangeHandler(context))),
      entry(KV.Txn, handler(KV.Txn, txnHandler(context))),
      [KV.Compact, compactor.handler],
    ]),
    stream: NONE,
    stop: () => compactor.stop(),
  };
}
