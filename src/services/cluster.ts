import { createHash } from "node:crypto";
import type { UnaryHandler } from "../server/transport.js";
import { MemberListResponse } from "../wire/messages.js";
import { Cluster } from "../wire/paths.js";
import type { Identity } from "./identity.js";
import { notHere } from "./unimplemented.js";

export interface ClusterDeps {
  readonly identity: Identity;
  /** Client URLs of all proxies of this store. */
  readonly clientUrls: readonly string[];
}

const ADVICE = "the members are the proxies listed under `advertise` in shards.yaml";

/**
 * The Cluster service. The members are the proxies, one for each advertised client URL: clients that connect
 * to every listed URL (AutoSync, `etcdctl --cluster`) must come to a proxy and not past it.
 */
export function clusterHandlers({ identity, clientUrls }: ClusterDeps): Map<string, UnaryHandler> {
  const members = MemberListResponse.encode({
    members: clientUrls.map((url) => ({ id: memberIdOf(url), name: memberName(url), clientUrls: [url] })),
  });
  const handlers = new Map<string, UnaryHandler>();
  for (const path of Object.values(Cluster)) handlers.set(path, notHere(path, ADVICE));
  // As in etcd, the header of a member list has no revision.
  handlers.set(Cluster.MemberList, (_call, _request, reply) =>
    reply(undefined, Buffer.concat([identity.header(0), members])),
  );
  return handlers;
}

/** The member id of the proxy with this client URL: the same for ever and on every proxy, never 0. */
export function memberIdOf(clientUrl: string): bigint {
  const id = createHash("sha256").update("etcd-braid member\0").update(clientUrl).digest().readBigUInt64BE(0);
  return id === 0n ? 1n : id;
}

/** `host:port` of a client URL; the URL itself where it has none. */
function memberName(url: string): string {
  return URL.canParse(url) ? new URL(url).host || url : url;
}
