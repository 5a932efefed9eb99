import { mayMoveLeaders } from "../../auth/permission.js";
import type { Call } from "../../rpc/call.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { MemberListResponse, MoveLeaderRequest, StatusResponse } from "../../wire/messages.js";
import { Cluster, Maintenance } from "../../wire/paths.js";
import { EMPTY } from "../../wire/reader.js";
import { type Backend, connected, type MaintenanceDeps, optionsFor } from "./context.js";
import { askEach, valuesOf } from "./outcomes.js";

/**
 * MoveLeader. Proxies have no leader: each reports in its status that it leads, so a request with its own id changes
 * nothing. A target that is a member of a shard, or of the timeline host, becomes the leader there. Other targets are bad
 * transferees.
 */
export async function moveLeader(deps: MaintenanceDeps, call: Call, bytes: Uint8Array): Promise<Uint8Array> {
  const { shards, identity, log } = deps;
  const { targetId } = MoveLeaderRequest.decode(bytes);
  await mayMoveLeaders(shards.all(), call);
  if (targetId === identity.memberId) return EMPTY;
  const backends = deps.backends();
  const outcomes = await askEach(
    backends,
    ({ name }) => name,
    (backend) => memberIds(backend, call),
  );
  const backend = backends.find((_, i) => outcomes[i]?.value?.includes(targetId));
  if (backend === undefined) {
    // Throws if a backend has failed, because the target may be a member of it.
    valuesOf(outcomes);
    throw etcd.badLeaderTransferee();
  }
  await moveWithin(backend, call, bytes);
  log.info({ cluster: backend.name, leader: targetId.toString(16) }, "leader moved");
  return EMPTY;
}

function memberIds(backend: Backend, call: Call): Promise<bigint[]> {
  return connected(backend, undefined, async (any) => {
    const answer = await any.call(Cluster.MemberList, EMPTY, optionsFor(call, true, backend));
    return MemberListResponse.decode(answer).members.map(({ id }) => id);
  });
}

/** Sends the request to the leader, because no other member accepts it. */
async function moveWithin(backend: Backend, call: Call, request: Uint8Array): Promise<void> {
  for (const endpoint of backend.endpoints) {
    const moved = await connected(backend, endpoint, async (member) => {
      // A member that fails is not the leader.
      const answer = await member
        .call(Maintenance.Status, EMPTY, optionsFor(call, true, backend))
        .catch(() => undefined);
      if (answer === undefined) return false;
      const { leader, header } = StatusResponse.decode(answer);
      if (leader !== header?.memberId) return false;
      await member.call(Maintenance.MoveLeader, request, optionsFor(call, false, backend));
      return true;
    });
    if (moved) return;
  }
  const text = "none of its endpoints in shards.yaml is that of its current leader";
  throw new StatusError(Code.UNAVAILABLE, `${backend.name}: ${text}`);
}
