import { mayMaintain } from "../auth/permission.js";
import { fromAsync } from "../rpc/async.js";
import type { UnaryHandler } from "../rpc/call.js";
import { NONE, type Service } from "../rpc/service.js";
import { Code, StatusError } from "../status/error.js";
import { Maintenance } from "../wire/paths.js";
import { Alarms } from "./maintenance/alarms.js";
import type { MaintenanceDeps } from "./maintenance/context.js";
import { Defragmenter } from "./maintenance/defragment.js";
import { downgrade } from "./maintenance/downgrade.js";
import { hash, KvHash } from "./maintenance/hash.js";
import { moveLeader } from "./maintenance/moveLeader.js";
import { StoreStatus } from "./maintenance/status.js";

export type { Backend, MaintenanceDeps } from "./maintenance/context.js";

const NO_SNAPSHOT =
  "etcd-braid: a store of several clusters does not fit into the snapshot of one etcd; " +
  "`braid snapshot save <folder> --config shards.yaml` saves all of them at one revision";

/** etcd's Maintenance service. Each method applies to all clusters of the store. */
export function createMaintenance(deps: MaintenanceDeps): Service {
  const status = new StoreStatus(deps);
  const alarms = new Alarms(deps);
  const defragmenter = new Defragmenter(deps);
  const kvHash = new KvHash(deps);
  const unary = new Map<string, UnaryHandler>([
    [Maintenance.Status, fromAsync((call) => status.answer(call))],
    [Maintenance.Alarm, fromAsync((call, request) => alarms.answer(call, request))],
    [Maintenance.Defragment, fromAsync((call) => defragmenter.answer(call))],
    [Maintenance.Hash, fromAsync((call) => hash(deps, call))],
    [
      Maintenance.HashKV,
      fromAsync(async (call, request) => {
        await mayMaintain(deps.shards.all(), call);
        return kvHash.answer(call, request);
      }),
    ],
    [Maintenance.MoveLeader, fromAsync((call, request) => moveLeader(deps, call, request))],
    [Maintenance.Downgrade, fromAsync((call, request) => downgrade(deps, call, request))],
    [
      Maintenance.Snapshot,
      fromAsync(async (call) => {
        await mayMaintain(deps.shards.all(), call);
        throw new StatusError(Code.UNIMPLEMENTED, NO_SNAPSHOT);
      }),
    ],
  ]);
  return { unary, stream: NONE };
}
