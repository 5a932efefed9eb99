import type { Timeline } from "../timeline/view.js";
import { HeaderTemplate } from "../wire/header.js";

/** The ids of the store and this proxy, and the source of every `ResponseHeader` of this proxy. */
export interface Identity {
  /** The store's id. All proxies of a store have the same one, and it never changes. */
  readonly clusterId: bigint;
  /** The proxy's id. It never changes. */
  readonly memberId: bigint;
  /** The encoded header field (tag, length and payload) for `revision`. Its `raft_term` never falls. Do not change the bytes. */
  header(revision: number): Uint8Array;
}

export interface IdentityOptions {
  /** The store's id, not 0. */
  readonly clusterId: bigint;
  /** The proxy's id, not 0. It must be the same after a restart. */
  readonly memberId: bigint;
  readonly timeline: Pick<Timeline, "raftTerm">;
}

/** Creates the identity of this proxy. It keeps the newest header, because most concurrent responses share a revision. */
export function createIdentity(options: IdentityOptions): Identity {
  const { clusterId, memberId, timeline } = options;
  let raftTerm = 1;
  let newestRevision = -1;
  let newest: Uint8Array | undefined;
  let template = new HeaderTemplate({ clusterId, memberId, raftTerm });
  return {
    clusterId,
    memberId,
    header(revision) {
      if (timeline.raftTerm > raftTerm) {
        raftTerm = timeline.raftTerm;
        template = new HeaderTemplate({ clusterId, memberId, raftTerm });
        newest = undefined;
      }
      if (newest === undefined || revision !== newestRevision) {
        newest = template.encode(revision);
        newestRevision = revision;
      }
      return newest;
    },
  };
}
