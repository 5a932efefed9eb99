import { createHash } from "node:crypto";
import type { UnaryHandler } from "../server/transport.js";
import { MemberListResponse } from "../wire/messages.js";
import { Cluster } from "../wire/paths.js";
import type { Identity } from "./identity.js";
import { notHere } from "./unimplemented.js";

export interface ClusterDeps {
  readonly identity: Identity;
  /** The client URLs of each proxy of this store; at least one each. */
  readonly members: readonly (readonly string[])[];
}

const ADVICE = "the members are the proxies listed under `advertise` in shards.yaml";

/**
 * The Cluster service. The members are the proxies with the URLs that they advertise: clients that connect
 * to every listed URL (AutoSync, `etcdctl --cluster`) must come to a proxy and not past it.
 */
export function clusterHandlers({ identity, members: proxies }: ClusterDeps): Map<string, UnaryHandler> {
  const members = MemberListResponse.encode({
    members: proxies.map((clientUrls) => ({
      id: memberIdOf(clientUrls[0]),
      name: memberName(clientUrls[0]),
      clientUrls,
    })),
  });
  const handlers = new Map<string, UnaryHandler>();
  for (const path of Object.values(Cluster)) handlers.set(path, notHere(path, ADVICE));
  // As in etcd, the header of a member list has no revision.
  handlers.set(Cluster.MemberList, (_call, _request, reply) =>
    reply(undefined, Buffer.concat([identity.header(0), members])),
  );
  return handlers;
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
