import type { Timeline } from "../timeline/view.js";
import { HeaderTemplate } from "../wire/header.js";

/** Who answers: the source of every `ResponseHeader` that leaves this proxy. */
export interface Identity {
  /** The same for every proxy of one store, for ever; another one for every other store. */
  readonly clusterId: bigint;
  /** The same for this proxy, for ever. */
  readonly memberId: bigint;
  /** The response header field (tag, length and payload) for `revision`; its `raft_term` never falls. Never change the bytes. */
  header(revision: number): Uint8Array;
}

export interface IdentityOptions {
  /** The store's id; not 0. */
  readonly clusterId: bigint;
  /** Derived from what names this proxy for good; not 0. */
  readonly memberId: bigint;
  readonly timeline: Pick<Timeline, "raftTerm">;
}

/** The identity of this proxy. The newest header is kept, because most answers of a moment share one revision. */
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
