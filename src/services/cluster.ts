import { createHash } from "node:crypto";
import { mayAdminister } from "../auth/permission.js";
import { fromAsync } from "../rpc/async.js";
import type { Call, UnaryHandler } from "../rpc/call.js";
import { NONE, type Service } from "../rpc/service.js";
import { isDenied } from "../shard/access.js";
import type { Shard } from "../shard/shard.js";
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
  /** In configured order. */
  readonly shards: readonly Shard[];
  /** The client URLs of each proxy of this store; at least one each. */
  readonly members: readonly (readonly string[])[];
}

const IN_THE_CONFIGURATION =
  "etcd-braid: the members are the proxies under `advertise` in shards.yaml: change it there and restart them; " +
  "the members of a shard are changed on the shard itself (etcdctl with its endpoints)";

/**
 * The Cluster service. The members are the proxies with the URLs that they advertise: clients that connect
 * to every listed URL (AutoSync, `etcdctl --cluster`) must come to a proxy and not past it. The configuration says who
 * they are, so no request changes them; what etcd refuses is refused with etcd's own errors.
 */
export function createCluster({ identity, shards, members: proxies }: ClusterDeps): Service {
  const ids = new Set(proxies.map((clientUrls) => memberIdOf(clientUrls[0])));
  const members = MemberListResponse.encode({
    members: proxies.map((clientUrls) => ({
      id: memberIdOf(clientUrls[0]),
      name: memberName(clientUrls[0]),
      clientUrls,
    })),
  });
  /** A handler that has nothing but reasons to refuse; `unseen` are those that come before the caller is judged. */
  const refusing = (
    reason: (request: Uint8Array) => StatusError,
    unseen?: (request: Uint8Array) => StatusError | undefined,
  ): UnaryHandler =>
    fromAsync(async (call, request) => {
      const error = unseen?.(request);
      if (error !== undefined) throw error;
      await mayAdminister(shards.slice(0, 1), call);
      throw reason(request);
    });
  const refused = (id: bigint): StatusError =>
    ids.has(id) ? new StatusError(Code.FAILED_PRECONDITION, IN_THE_CONFIGURATION) : etcd.memberNotFound();
  const unary = new Map<string, UnaryHandler>([
    // As in etcd, the header of a member list has no revision.
    [
      Cluster.MemberList,
      fromAsync(async (call) => {
        await mayList(shards[0]!, call);
        return Buffer.concat([identity.header(0), members]);
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

/** Whether etcd takes these as peer URLs: at least one, each with a scheme, host and port and nothing else. */
function areMemberUrls(urls: readonly string[]): boolean {
  return urls.length > 0 && urls.every((url) => /^(https?|unixs?):\/\/[^/?#]+:\d+$/.test(url.trim()));
}

/** Newer etcds show their members only to users, once they have some. Rejects with the shard's refusal. */
async function mayList(shard: Shard, call: Call): Promise<void> {
  if (call.caller === undefined) return;
  const options = { idempotent: true, mayLag: true, caller: call.caller, deadline: call.deadline };
  await shard.call(Cluster.MemberList, EMPTY, options).catch((reason) => {
    if (isDenied(StatusError.from(reason))) throw reason;
  });
}

/** The member id of the proxy whose first client URL is this: the same for ever and on every proxy, never 0. */
export function memberIdOf(clientUrl: string): bigint {
  const id = createHash("sha256").update("etcd-braid member\0").update(clientUrl).digest().readBigUInt64BE(0);
  return id === 0n ? 1n : id;
}

/** `host:port` of a client URL; the URL itself where it has none. */
function memberName(url: string): string {
  return URL.canParse(url) ? new URL(url).host || url : url;
}
