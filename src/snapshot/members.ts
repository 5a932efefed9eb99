import { createHash } from "node:crypto";

/** A member of a cluster that is built from a snapshot. */
export interface NewMember {
  readonly name: string;
  /** One peer URL, for etcd's `--initial-advertise-peer-urls`. */
  readonly peerUrl: string;
}

/** The value of etcd's `--initial-cluster`: `a=http://…,b=http://…`. */
export function initialCluster(members: readonly NewMember[]): string {
  return members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",");
}

/**
 * The id, in decimal, that etcd gives a cluster that begins with these members: a hash of the members' ids, which are hashes
 * of their peer URLs and the token.
 */
export function clusterIdOf(members: readonly NewMember[], token: string): string {
  const ids = members.map(({ peerUrl }) => sha1(peerUrl + token));
  const sorted = ids.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const bytes = Buffer.alloc(8 * sorted.length);
  sorted.forEach((id, i) => {
    bytes.writeBigUInt64BE(id, 8 * i);
  });
  return sha1(bytes).toString();
}

function sha1(data: string | Uint8Array): bigint {
  return createHash("sha1").update(data).digest().readBigUInt64BE(0);
}
