import { genLimit, readGen } from "../../reshard/gen.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import type { Timeline } from "../../timeline/view.js";
import {
  CompareResult,
  CompareTarget,
  RangeRequest,
  RangeResponse,
  ResponseOp,
  TxnRequest,
} from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";

/*
 * Every write of a client compares gen: the shard's mark, which begins with the position of the newest change of the
 * placement that the shard must not miss. A proxy that has missed this change, or has another store, cannot write.
 */

/** What the writes of a store compare. */
export interface GenKey {
  /** The key of the store's marks. Undefined if the store had none when this proxy started. */
  readonly key: Uint8Array | undefined;
  /** True if every shard of the store has a mark. In a store of an older version, some may not have got it yet. */
  isOnAllShards(): boolean;
}

/** Most attempts of one write. Reached only if the placement changes between all of them. */
const MAX_ATTEMPTS = 8;

/**
 * The error of a write that its shard has refused because of gen. Nothing was written. The call begins again: it chooses the
 * shard and translates the request anew. Clients never get this error.
 */
export const BEGIN_AGAIN = new StatusError(Code.UNAVAILABLE, "etcd-braid: the placement has changed");

/** Encodes the compares of gen, and decides what follows when one does not hold. */
export class Gen {
  private limit = -1;
  /** gen is at most `limit`: a compare, and with it a read of gen in the failure branch. */
  private below: Compared = NOTHING;
  /** Shards without a mark. Their writes compare that there is still none. */
  private readonly unmarked = new Set<number>();
  private readonly absent: Compared;
  private readonly read: Uint8Array;

  constructor(
    private readonly gen: GenKey,
    private readonly timeline: Pick<Timeline, "placementPosition" | "beginWrite">,
  ) {
    const key = gen.key ?? NO_KEY;
    this.read = RangeRequest.encode({ key });
    this.absent = compared(key, { target: CompareTarget.VERSION, result: CompareResult.EQUAL, version: 0 });
  }

  /**
   * What a write of a proxy at `position` compares on a shard. Throws if the proxy cannot write, because it does not know the
   * key of the store's marks.
   */
  compareOn(shard: number, position: number): Compared {
    const { key } = this.gen;
    if (key === undefined) throw noMarks();
    if (this.unmarked.size > 0 && this.unmarked.has(shard)) return this.absent;
    if (position !== this.limit) {
      const value = Buffer.from(genLimit(position));
      this.limit = position;
      this.below = compared(key, { target: CompareTarget.VALUE, result: CompareResult.LESS, value });
    }
    return this.below;
  }

  /** Whether gen held in a transaction that has failed. `op` is the ResponseOp of the read of gen in its failure branch. */
  held(op: Uint8Array, shard: number, position: number): boolean {
    const read = ResponseOp.decode(op);
    const value = read.kind === "range" ? read.response.kvs[0]?.value : undefined;
    if (value === undefined) return this.unmarked.has(shard);
    return !this.unmarked.has(shard) && readGen(value) <= position;
  }

  /** Reads whether gen on the shard is above `position` now, linearizably. */
  async isAbove(shard: Shard, position: number): Promise<boolean> {
    const found = await this.positionOn(shard);
    return found === undefined ? !this.unmarked.has(shard.index) : found > position;
  }

  /**
   * Called when a shard has refused a write of a proxy at `position`: the attempt number `attempt`, from 1. Resolves when the
   * call may begin again. Rejects if that would not help.
   */
  async refused(shard: Shard, position: number, attempt: number): Promise<void> {
    const { timeline } = this;
    await timeline.beginWrite(true);
    if (attempt >= MAX_ATTEMPTS) {
      throw new StatusError(
        Code.UNAVAILABLE,
        `${describeShard(shard)}: the placement has changed ${attempt} times during the call; ` +
          "nothing was written; try again",
      );
    }
    if (timeline.placementPosition > position) return;
    const found = await this.positionOn(shard);
    if (found === undefined) {
      if (this.gen.isOnAllShards()) throw lost(shard);
      this.unmarked.add(shard.index);
      return;
    }
    this.unmarked.delete(shard.index);
    if (found > timeline.placementPosition) throw behind(shard, found, timeline.placementPosition);
  }

  private async positionOn(shard: Shard): Promise<number | undefined> {
    const response = await shard.call(KV.Range, this.read, { idempotent: true });
    const value = RangeResponse.decode(response).kvs[0]?.value;
    return value === undefined ? undefined : readGen(value);
  }
}

/** What a write compares, encoded as fields of a TxnRequest. */
export interface Compared {
  readonly compare: Uint8Array;
  /** The compare, and a read of gen as the last operation of the failure branch. */
  readonly compareAndRead: Uint8Array;
}

const NO_KEY = Buffer.of(0);
const NOTHING: Compared = { compare: NO_KEY, compareAndRead: NO_KEY };

function compared(
  key: Uint8Array,
  condition: { target: CompareTarget; result: CompareResult; version?: number; value?: Uint8Array },
): Compared {
  const compare = [{ key, ...condition }];
  return {
    compare: TxnRequest.encode({ compare }),
    compareAndRead: TxnRequest.encode({ compare, failure: [{ kind: "range", request: { key } }] }),
  };
}

function noMarks(): StatusError {
  return new StatusError(
    Code.UNAVAILABLE,
    "etcd-braid: nothing was written: when this proxy started, the timeline host had no space to mark the store; " +
      "restart the proxy",
  );
}

function lost(shard: Shard): StatusError {
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `${describeShard(shard)}: nothing was written: the cluster does not have this store's mark, ` +
      "so it has lost data or belongs to another store; `braid check` shows which",
  );
}

function behind(shard: Shard, found: number, known: number): StatusError {
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `${describeShard(shard)}: nothing was written: the shard has a newer change of the placement (${found}) ` +
      `than this proxy's timeline (${known}), so the proxy follows an old timeline; ` +
      "compare its configuration with the other proxies' (`braid check`), and restart it",
  );
}
