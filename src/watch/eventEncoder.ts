import type { Timeline } from "../timeline/view.js";
import type { ToRevision } from "../wire/patch.js";
import type { Allocate } from "../wire/rewrite.js";
import { type EncodedEvent, encodeEvent, type RawEvent } from "../wire/watch.js";
import type { Moves } from "./moves.js";

/** Encodes the shards' events for clients, with the store's revisions and versions. */
export class EventEncoder {
  /** By shard: the map of its revisions, with version offsets and without. */
  private readonly maps: { readonly plain: ToRevision; readonly full: ToRevision }[] = [];
  /** The event's own revision. The timeline may have pruned it, or it counts later than it happened. */
  private ownShardRevision = 0;
  private ownRevision = 0;

  constructor(
    private readonly timeline: Pick<Timeline, "toRevision" | "versionOffset">,
    private readonly moves: Pick<Moves, "hasPlans">,
    /** By default each event gets memory of its own. */
    private readonly allocate?: Allocate,
  ) {}

  /** Encodes an event of a shard that counts at `revision`. */
  encode(event: RawEvent, shard: number, revision: number): EncodedEvent {
    this.maps[shard] ??= this.mapsOf(shard);
    const { plain, full } = this.maps[shard];
    this.ownShardRevision = event.modRevision;
    this.ownRevision = revision;
    return encodeEvent(event, this.moves.hasPlans ? full : plain, this.allocate);
  }

  private mapsOf(shard: number) {
    const { timeline } = this;
    const plain = (shardRevision: number) =>
      shardRevision === this.ownShardRevision ? this.ownRevision : timeline.toRevision(shard, shardRevision);
    const versionOffset = (life: number) => timeline.versionOffset(shard, life);
    return { plain, full: Object.assign((shardRevision: number) => plain(shardRevision), { versionOffset }) };
  }
}
