import { withAdminLock } from "../../services/auth/adminLock.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { TOKEN_KEY } from "../../timeline/keys.js";
import { HOST_NAME } from "../../timeline/mark.js";
import { NO_KEY, TO_LAST_KEY } from "../../wire/keyRange.js";
import {
  CompareResult,
  CompareTarget,
  RangeRequest,
  RangeResponse,
  TxnRequest,
} from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { changeHost, readCluster, writeMark } from "../store/marks.js";
import type { Survey, SurveyedCluster } from "../store/survey.js";
import type { PlanStore } from "./planStore.js";
import { ActivePlanError, isUnmarked } from "./recordPlan.js";

/**
 * Moves the timeline of a store to `target`, a shard of the store or another cluster, and records it in the marks of all shards.
 * Proxies follow at once. After a failure at any point it may be repeated; if the timeline is there already, only the marks are
 * completed. The old host must not be switched off before this resolves. Rejects with `ActivePlanError` while a plan is active,
 * and with FAILED_PRECONDITION if the cluster has keys, or belongs to something else.
 */
export function moveHost(store: PlanStore, survey: Survey, target: SurveyedCluster): Promise<void> {
  return withAdminLock(store.host, () => move(store, survey, target));
}

async function move(store: PlanStore, survey: Survey, target: SurveyedCluster): Promise<void> {
  const { timeline, host } = store;
  const { client, endpoints, index: place } = target;
  await timeline.sync();
  const { plan } = timeline.placement;
  // The records of the plan are on the host.
  if (plan !== undefined) throw new ActivePlanError(plan.number);
  const id = timeline.log.base.store;
  if (id === undefined) throw isUnmarked();
  const reading = await readCluster(client);
  const { clusterId } = reading;
  const shard = place < 0 ? -1 : indexOf(survey, clusterId, client);
  const next = { shard, name: shard < 0 ? HOST_NAME : client.name, endpoints, clusterId };
  if ((await readCluster(host)).clusterId !== clusterId) {
    if (!reading.marks.marks.some((mark) => mark.store === id)) {
      await requireEmpty(client);
      if (!(await writeMark(client, reading, id, next, false, shard))) throw isOther(client);
    }
    await copyTokenKey(host, client);
    await store.moveTo(target, next);
  }
  for (const { index, cluster } of survey.shards) {
    if (cluster !== undefined) await changeHost(cluster.client, id, next, index === shard);
  }
  if (shard < 0) await changeHost(client, id, next, true);
}

function indexOf({ shards }: Survey, clusterId: string, client: Shard): number {
  const shard = shards.find((each) => each.clusterId === clusterId);
  if (shard !== undefined) return shard.index;
  throw new StatusError(Code.FAILED_PRECONDITION, `${describeShard(client)} is not in the store yet`);
}

const isOther = (cluster: Shard): StatusError =>
  new StatusError(
    Code.ABORTED,
    `${describeShard(cluster)} has got a mark or a timeline meanwhile: run this again`,
  );

/** A host that is not a shard has no keys but the timeline's. */
async function requireEmpty(cluster: Shard): Promise<void> {
  const request = RangeRequest.encode({ key: NO_KEY, rangeEnd: TO_LAST_KEY, limit: 1, keysOnly: true });
  const { kvs } = RangeResponse.decode(await cluster.call(KV.Range, request, { idempotent: true }));
  if (kvs.length === 0) return;
  const text = "the etcd cluster has keys, but a timeline host that is not a shard must be empty";
  throw new StatusError(Code.FAILED_PRECONDITION, `${describeShard(cluster)}: ${text}`);
}

/** With the same key, the tokens of clients stay valid. The target may have an older key, from when it was the host before. */
async function copyTokenKey(from: Shard, to: Shard): Promise<void> {
  const read = RangeRequest.encode({ key: TOKEN_KEY });
  const [kv] = RangeResponse.decode(await from.call(KV.Range, read, { idempotent: true })).kvs;
  if (kv === undefined) return;
  const same = { target: CompareTarget.VALUE, result: CompareResult.EQUAL, key: TOKEN_KEY, value: kv.value };
  const request = TxnRequest.encode({
    compare: [same],
    failure: [{ kind: "put", request: { key: TOKEN_KEY, value: kv.value } }],
  });
  await to.call(KV.Txn, request, { idempotent: false });
}
