import { mayMoveLeaders } from "../../auth/permission.js";
import type { Call } from "../../rpc/call.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { MemberListResponse, MoveLeaderRequest, StatusResponse } from "../../wire/messages.js";
import { Cluster, Maintenance } from "../../wire/paths.js";
import { EMPTY } from "../../wire/reader.js";
import { type Backend, connected, type MaintenanceDeps, optionsFor } from "./context.js";
import { answersOf, everywhere } from "./everywhere.js";

/**
 * MoveLeader. Proxies have no leader among them: each says in its status that it leads, and to ask it for itself
 * changes nothing. The shards have leaders: a target that is a member of a shard (or of the timeline host) becomes
 * the leader there. Anything else is a bad transferee.
 */
export async function moveLeader(deps: MaintenanceDeps, call: Call, bytes: Uint8Array): Promise<Uint8Array> {
  const { backends, shards, identity, log } = deps;
  const { targetId } = MoveLeaderRequest.decode(bytes);
  await mayMoveLeaders(shards, call);
  if (targetId === identity.memberId) return EMPTY;
  const outcomes = await everywhere(
    backends,
    ({ name }) => name,
    (backend) => memberIds(backend, call),
  );
  const at = outcomes.findIndex(({ value }) => value?.includes(targetId));
  if (at < 0) {
    answersOf(outcomes); // it may be a member of one that did not answer
    throw etcd.badLeaderTransferee();
  }
  const backend = backends[at]!;
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

/** Only the leader itself takes the request. */
async function moveWithin(backend: Backend, call: Call, request: Uint8Array): Promise<void> {
  for (const endpoint of backend.endpoints) {
    const moved = await connected(backend, endpoint, async (member) => {
      const answer = await member
        .call(Maintenance.Status, EMPTY, optionsFor(call, true, backend))
        .catch(() => undefined); // it is not this one, then
      if (answer === undefined) return false;
      const { leader, header } = StatusResponse.decode(answer);
      if (leader !== header?.memberId) return false;
      await member.call(Maintenance.MoveLeader, request, optionsFor(call, false, backend));
      return true;
    });
    if (moved) return;
  }
  const text = `none of its endpoints in shards.yaml leads to the leader that it has now`;
  throw new StatusError(Code.UNAVAILABLE, `${backend.name}: ${text}`);
}
