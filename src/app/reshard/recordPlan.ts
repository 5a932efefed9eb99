import { START } from "../../reshard/bound.js";
import type { PlanShard } from "../../reshard/change.js";
import type { Plan } from "../../reshard/placement.js";
import { withAdminLock } from "../../services/auth/adminLock.js";
import { grantGenToRoles } from "../../services/auth/genGrants.js";
import { isEnabled } from "../../services/auth/query.js";
import { repairSteps } from "../../services/auth/repair.js";
import { readUsers } from "../../services/auth/users.js";
import { describeShard } from "../../shard/name.js";
import { Code, StatusError } from "../../status/error.js";
import { markKey } from "../../timeline/keys.js";
import type { HostPlace } from "../../timeline/mark.js";
import { changePlace, readCluster, writeMark } from "../store/marks.js";
import type { Survey, SurveyedCluster } from "../store/survey.js";
import type { PlanStore } from "./planStore.js";

/** A plan to record. */
export interface PlanOrder {
  /** The store as it was when the plan was made. */
  readonly survey: Survey;
  /** Text of the map that the plan leads to. */
  readonly map: string;
  /** Clusters that become shards, in the order in which new ones are numbered. They were checked, and are empty. */
  readonly newShards: readonly SurveyedCluster[];
  readonly maxKeysPerSecond: number | null;
  /** What moves in total; null: not counted. */
  readonly keys: number | null;
  readonly bytes: number | null;
}

/**
 * Records a plan in the log: marks the new shards, lets their roles read the marks, and writes the plan's control before. Users
 * and roles cannot change through a proxy meanwhile. Resolves to the plan. Rejects with `ActivePlanError` if another
 * plan is active, and with ABORTED if the store or a new shard has changed since the survey; then nothing moves. Marks that were
 * written by then do no harm: another plan uses or changes them.
 */
export function recordPlan(store: PlanStore, order: PlanOrder): Promise<Plan> {
  return withAdminLock(store.host, () => record(store, order));
}

async function record(store: PlanStore, order: PlanOrder): Promise<Plan> {
  const { survey, map, newShards, maxKeysPerSecond, keys, bytes } = order;
  const { timeline } = store;
  await timeline.sync();
  const after = requireUnchanged(store, survey);
  const { inForce } = timeline.placement;
  const id = timeline.log.base.store;
  const { host } = survey;
  if (id === undefined || host === undefined) throw isUnmarked();
  const indices = indicesOf(newShards, timeline.placement.shards);
  const joining = await Promise.all(
    newShards.map((cluster, i) => prepare(cluster, indices[i] as number, id, host, survey)),
  );
  const shards = [...knownShards(survey), ...joining].sort((a, b) => a.index - b.index);
  await store.changeControl(after + 1, (control) => ({ ...control, maxKeysPerSecond, keys, bytes }));
  const position = await timeline.proposeChange({ kind: "plan", after, map, shards });
  if (position === undefined) {
    const { plan } = timeline.placement;
    throw plan === undefined ? hasChanged() : new ActivePlanError(plan.number);
  }
  // Another command may have numbered the shards for a plan of its own.
  await Promise.all(newShards.map(({ client }, i) => changePlace(client, id, indices[i] as number, host)));
  // It may be done by now.
  return { number: after + 1, below: map, above: inForce, up: true, cursor: START, frozen: undefined };
}

/** Returns the number of the newest plan. */
function requireUnchanged({ timeline }: PlanStore, survey: Survey): number {
  const { plan, plans, inForce } = timeline.placement;
  if (plan !== undefined) throw new ActivePlanError(plan.number);
  if (survey.timeline instanceof StatusError) throw survey.timeline;
  const before = survey.timeline.fold.placement.snapshot();
  if (plans !== before.plans || inForce !== before.inForce) throw hasChanged();
  return plans;
}

/** The index of each new shard: the one that it had before, or the next free one. */
function indicesOf(newShards: readonly SurveyedCluster[], shards: readonly PlanShard[]): number[] {
  let next = shards.length;
  return newShards.map(({ reading }) => {
    const earlier = shards.findIndex(({ clusterId }) => clusterId === reading?.clusterId);
    return earlier >= 0 ? earlier : next++;
  });
}

/** Makes a cluster ready to become the shard with this index. Resolves to what the plan says about it. */
async function prepare(
  { client, endpoints, name, reading: before }: SurveyedCluster,
  index: number,
  store: string,
  host: HostPlace,
  survey: Survey,
): Promise<PlanShard> {
  const reading = await readCluster(client);
  if (reading.clusterId !== before?.clusterId || reading.revision !== before.revision) {
    throw new StatusError(
      Code.ABORTED,
      `${describeShard(client)} has changed since it was checked: run this again`,
    );
  }
  await requireSameUsers(client, survey);
  if (await isEnabled(client)) await grantGenToRoles(client, markKey(store), { idempotent: true });
  if (reading.marks.marks.length > 0) {
    await changePlace(client, store, index, host);
  } else if (!(await writeMark(client, reading, store, host, false, index))) {
    throw new StatusError(
      Code.ABORTED,
      `${describeShard(client)} has got a mark or a timeline meanwhile: run this again`,
    );
  }
  const { clusterId, revision } = await readCluster(client);
  return { index, name, endpoints, clusterId, cut: revision };
}

async function requireSameUsers(client: SurveyedCluster["client"], survey: Survey): Promise<void> {
  const model = survey.shards.find(({ cluster }) => cluster?.reading !== undefined)?.cluster;
  if (model === undefined) return;
  const [expected, users] = await Promise.all([readUsers(model.client), readUsers(client)]);
  if (repairSteps(expected, users).length === 0) return;
  throw new StatusError(
    Code.ABORTED,
    `the users or roles of shard "${model.name}" and ${describeShard(client)} differ: run this again`,
  );
}

/**
 * The shards that the store has already, with their addresses, so that proxies whose files lack one can reach it. Their part of
 * the timeline stays as it is.
 */
function knownShards({ shards }: Survey): PlanShard[] {
  return shards.map(({ index, name, clusterId, endpoints, cluster }) => ({
    index,
    name,
    endpoints: cluster?.endpoints ?? endpoints,
    clusterId: cluster?.reading?.clusterId ?? clusterId,
    cut: 0,
  }));
}

/** The refusal of a second plan. */
export class ActivePlanError extends StatusError {
  constructor(
    /** Number of the active plan. */
    readonly plan: number,
  ) {
    super(Code.FAILED_PRECONDITION, `plan ${plan} is already active`);
  }
}

const hasChanged = (): StatusError =>
  new StatusError(Code.ABORTED, "the shard map of the store has changed meanwhile: run this again");

export const isUnmarked = (): StatusError =>
  new StatusError(
    Code.FAILED_PRECONDITION,
    "not all shards of the store have marks yet: start a proxy of this version, with all shards running",
  );
