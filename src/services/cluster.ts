import { createHash } from "node:crypto";
import { mayAdminister } from "../auth/permission.js";
import { fromAsync } from "../rpc/async.js";
import type { Call, UnaryHandler } from "../rpc/call.js";
import { NONE, type Service } from "../rpc/service.js";
import { isDenied } from "../shard/access.js";
import type { ShardSet } from "../shard/shardSet.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import {
  EMPTY,
  MemberAddRequest,
  MemberListResponse,
  MemberPromoteRequest,
  MemberRemoveRequest,
  MemberUpdateRequest,
} from "../wire/messages.js";
import { Cluster } from "../wire/paths.js";
import type { Identity } from "./identity.js";

export interface ClusterDeps {
  readonly identity: Identity;
  readonly shards: ShardSet;
  /** The client URLs of each proxy of this store. Each proxy has at least one. */
  readonly members: readonly (readonly string[])[];
}

const IN_THE_CONFIGURATION =
  "etcd-braid: the members are the proxies under `advertise` in shards.yaml: change it there and restart them; " +
  "the members of a shard are changed on the shard itself (etcdctl with its endpoints)";

/**
 * etcd's Cluster service. The members are the proxies with the URLs that they advertise. Clients that connect to every
 * listed URL (AutoSync, `etcdctl --cluster`) have to reach a proxy, and not go past it. The members are in the configuration,
 * so no request can change them. Requests that etcd would refuse get etcd's errors.
 */
export function createCluster({ identity, shards, members: proxies }: ClusterDeps): Service {
  const members = proxies.flatMap((clientUrls) => {
    const [first] = clientUrls;
    return first === undefined ? [] : [{ id: memberIdOf(first), name: memberName(first), clientUrls }];
  });
  const ids = new Set(members.map(({ id }) => id));
  const list = MemberListResponse.encode({ members });
  /** A handler that always refuses. The errors of `invalid` come before the caller is checked. */
  const refusing = (
    reason: (request: Uint8Array) => StatusError,
    invalid?: (request: Uint8Array) => StatusError | undefined,
  ): UnaryHandler =>
    fromAsync(async (call, request) => {
      const error = invalid?.(request);
      if (error !== undefined) throw error;
      await mayAdminister([shards.first], call);
      throw reason(request);
    });
  const refused = (id: bigint): StatusError =>
    ids.has(id) ? new StatusError(Code.FAILED_PRECONDITION, IN_THE_CONFIGURATION) : etcd.memberNotFound();
  const unary = new Map<string, UnaryHandler>([
    // As in etcd, the header of a member list has no revision.
    [
      Cluster.MemberList,
      fromAsync(async (call) => {
        await mayList(shards, call);
        return Buffer.concat([identity.header(0), list]);
      }),
    ],
    [
      Cluster.MemberAdd,
      refusing(
        () => new StatusError(Code.FAILED_PRECONDITION, IN_THE_CONFIGURATION),
        (request) =>
          areMemberUrls(MemberAddRequest.decode(request).peerUrls) ? undefined : etcd.memberBadUrls(),
      ),
    ],
    [Cluster.MemberRemove, refusing((request) => refused(MemberRemoveRequest.decode(request).id))],
    [Cluster.MemberUpdate, refusing((request) => refused(MemberUpdateRequest.decode(request).id))],
    [
      Cluster.MemberPromote,
      refusing((request) => {
        const { id } = MemberPromoteRequest.decode(request);
        return ids.has(id) ? etcd.memberNotLearner() : etcd.memberNotFound();
      }),
    ],
  ]);
  return { unary, stream: NONE };
}

/** Whether etcd accepts these as peer URLs: at least one, each with scheme, host and port, and nothing else. */
function areMemberUrls(urls: readonly string[]): boolean {
  return urls.length > 0 && urls.every((url) => /^(https?|unixs?):\/\/[^/?#]+:\d+$/.test(url.trim()));
}

/** With authentication on, newer etcds list members only for users. Rejects with the refusal of the first shard. */
async function mayList(shards: ShardSet, call: Call): Promise<void> {
  if (call.caller === undefined) return;
  const options = { idempotent: true, mayLag: true, caller: call.caller, deadline: call.deadline };
  await shards.first.call(Cluster.MemberList, EMPTY, options).catch((reason) => {
    if (isDenied(StatusError.from(reason))) throw reason;
  });
}

/** The member id of the proxy with this first client URL. It is the same on every proxy and in every version, and not 0. */
export function memberIdOf(clientUrl: string): bigint {
  const id = createHash("sha256").update("etcd-braid member\0").update(clientUrl).digest().readBigUInt64BE(0);
  return id === 0n ? 1n : id;
}

/** `host:port` of a client URL, or the URL itself where it has none. */
function memberName(url: string): string {
  return URL.canParse(url) ? new URL(url).host || url : url;
}
