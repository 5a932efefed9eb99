import { createHash, type Hash } from "node:crypto";
import type { Call } from "../../rpc/call.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { systemRuntime } from "../../turn/runtime.js";
import { Compactions } from "../../watch/compaction.js";
import { NO_KEY, TO_LAST_KEY } from "../../wire/keyRange.js";
import {
  HashKVRequest,
  HashKVResponse,
  HashResponse,
  type Init,
  RangeRequest,
  RangeResponse,
  StatusResponse,
} from "../../wire/messages.js";
import { KV, Maintenance } from "../../wire/paths.js";
import { EMPTY } from "../../wire/reader.js";
import { internalCall } from "../internalCall.js";
import { type MaintenanceDeps, optionsFor } from "./context.js";
import { answersOf, everywhere } from "./everywhere.js";
import { since36 } from "./newer.js";

/** How often the hash of the newest revision is begun again because that was compacted meanwhile. */
const ROUNDS = 5;
/** What a page is meant to hold, bytes; and the most keys that it may, because the next values may be far larger. */
const PAGE_BYTES = 1 << 20;
const PAGE_KEYS = 1_000;
const FIRST_KEYS = 64;
/** Judged by a shard before it looks at the revision, which no etcd reaches. */
const IN_THE_FUTURE = HashKVRequest.encode({ revision: Number.MAX_SAFE_INTEGER });

/**
 * HashKV of the store at a revision: the first 32 bits of the SHA-256 of all keys that clients see in the state at that
 * revision, in their order, with their values, revisions, versions and leases. The shards' own hashes would cover the
 * timeline's log, and change with each shard's compactions.
 *
 * All data pass through the proxy, page by page. One hash is made at a time; the others wait.
 */
export class KvHash {
  /** Ends, never rejecting, when the last request that has been taken on is done. */
  private last: Promise<unknown> = Promise.resolve();
  private readonly compactions: Compactions;

  constructor(private readonly deps: MaintenanceDeps) {
    this.compactions = new Compactions(deps.timeline, deps.shards, systemRuntime);
  }

  async answer(call: Call, bytes: Uint8Array): Promise<Uint8Array> {
    const { revision } = HashKVRequest.decode(bytes);
    if (call.caller !== undefined) await this.admit(call);
    const turn = this.last.then(() => this.answerInTurn(call, Math.max(0, revision)));
    this.last = turn.catch(() => undefined);
    return turn;
  }

  /** The shards judge the client, by their own rules. */
  private async admit(call: Call): Promise<void> {
    const outcomes = await everywhere(this.deps.shards, describeShard, async (shard) => {
      try {
        await shard.call(Maintenance.HashKV, IN_THE_FUTURE, optionsFor(call, true));
      } catch (reason) {
        if (!etcd.futureRevision.is(reason)) throw reason;
      }
    });
    answersOf(outcomes);
  }

  private async answerInTurn(call: Call, wanted: number): Promise<Uint8Array> {
    const { timeline, identity, shards } = this.deps;
    const all = shards.map(({ index }) => index);
    for (let round = 1; ; round++) {
      await timeline.sync();
      const compacted = await this.compactions.firstServed(all, timeline.compactRevision);
      if (wanted > timeline.head) throw etcd.futureRevision();
      if (wanted > 0 && wanted < compacted) throw etcd.compacted();
      try {
        const { hash, revision } = await this.hashAt(call, wanted);
        const header = identity.header(wanted > 0 ? timeline.head : revision);
        const hashRevision = (await this.tellsRevision()) ? revision : 0;
        const body = HashKVResponse.encode({ hash, compactRevision: compacted || -1, hashRevision });
        return Buffer.concat([header, body]);
      } catch (reason) {
        if (!etcd.compacted.is(reason) || wanted > 0 || round === ROUNDS) throw reason;
      }
    }
  }

  /** At `wanted`, or at the newest revision when that is 0. */
  private async hashAt(call: Call, wanted: number): Promise<{ hash: number; revision: number }> {
    const digest = createHash("sha256");
    let revision = wanted;
    let key = NO_KEY;
    let limit = FIRST_KEYS;
    for (;;) {
      if (call.cancelled) throw new StatusError(Code.CANCELLED, "context canceled");
      const { header, kvs, more } = await this.read(call, { key, rangeEnd: TO_LAST_KEY, revision, limit });
      // The first page is read at the newest revision, which its header has.
      if (revision === 0) revision = header!.revision;
      const page = RangeResponse.encode({ kvs });
      digest.update(page);
      if (!more) return { hash: first32Bits(digest), revision };
      key = Buffer.concat([kvs.at(-1)!.key, Uint8Array.of(0)]);
      limit = Math.max(1, Math.min(PAGE_KEYS, Math.floor((PAGE_BYTES * kvs.length) / page.length)));
    }
  }

  /** Whether the shards' etcds say what revision a hash is of: since 3.6. */
  private async tellsRevision(): Promise<boolean> {
    const ask = (shard: Shard) => shard.call(Maintenance.Status, EMPTY, { idempotent: true });
    const answers = await Promise.all(this.deps.shards.map(ask));
    return since36(answers.map((answer) => StatusResponse.decode(answer))).storageVersion !== undefined;
  }

  /** A Range in the proxy's own name, without the client's deadline. */
  private read(call: Call, request: Init<RangeRequest>): Promise<RangeResponse> {
    const own = internalCall(KV.Range, { metadata: call.metadata });
    return new Promise((resolve, reject) => {
      this.deps.range(own, RangeRequest.encode(request), (error, response) => {
        if (error === undefined) resolve(RangeResponse.decode(response!));
        else reject(error);
      });
    });
  }
}

/** Hash of all that the backends hold, for the curious: it depends on which member answers and on what is in progress. */
export async function hash(deps: MaintenanceDeps, call: Call): Promise<Uint8Array> {
  const { shards, timeline, identity } = deps;
  const outcomes = await everywhere(shards, describeShard, async (shard) => {
    const answer = await shard.call(Maintenance.Hash, EMPTY, optionsFor(call, true));
    return HashResponse.decode(answer).hash;
  });
  const body = HashResponse.encode({ hash: combine(answersOf(outcomes)) });
  return Buffer.concat([identity.header(timeline.head), body]);
}

function combine(hashes: readonly number[]): number {
  const bytes = Buffer.alloc(4 * hashes.length);
  hashes.forEach((hash, i) => {
    bytes.writeUInt32BE(hash, 4 * i);
  });
  return first32Bits(createHash("sha256").update(bytes));
}

const first32Bits = (digest: Hash): number => digest.digest().readUInt32BE(0);
