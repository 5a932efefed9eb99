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
import { internalCall, invoke, type WithHeader } from "../internalCall.js";
import { type MaintenanceDeps, optionsFor } from "./context.js";
import { askEach, valuesOf } from "./outcomes.js";
import { since36 } from "./since36.js";

/** Most attempts to hash the newest revision before it is compacted. */
const MAX_ROUNDS = 5;
/** Target size of a page in bytes, and the most keys in one, because later values may be far larger. */
const PAGE_BYTES = 1 << 20;
const PAGE_KEYS = 1_000;
const FIRST_KEYS = 64;
/** A request for a revision that no etcd reaches. The shard checks permission before the revision. */
const IN_THE_FUTURE = HashKVRequest.encode({ revision: Number.MAX_SAFE_INTEGER });

/**
 * HashKV of the store: the first 32 bits of the SHA-256 of all visible keys at a revision, in key order, with values,
 * revisions, versions and leases. The shards' own hashes would include the timeline's log, and change with each shard's
 * compactions.
 *
 * All data pass through the proxy, page by page. One hash is computed at a time, and other requests wait.
 */
export class KvHash {
  /** Resolves when the last accepted request is done. Never rejects. */
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

  /** Rejects unless all shards let the client compute hashes. */
  private async admit(call: Call): Promise<void> {
    const outcomes = await askEach(this.deps.shards.all(), describeShard, async (shard) => {
      try {
        await shard.call(Maintenance.HashKV, IN_THE_FUTURE, optionsFor(call, true));
      } catch (reason) {
        if (!etcd.futureRevision.is(reason)) throw reason;
      }
    });
    valuesOf(outcomes);
  }

  private async answerInTurn(call: Call, wanted: number): Promise<Uint8Array> {
    const { timeline, identity, shards } = this.deps;
    for (let round = 1; ; round++) {
      await timeline.sync();
      const all = shards.all().map(({ index }) => index);
      const compacted = await this.compactions.firstServed(all, timeline.compactRevision);
      if (wanted > timeline.head) throw etcd.futureRevision();
      if (wanted > 0 && wanted < compacted) throw etcd.compacted();
      try {
        const { hash, revision } = await this.hashAt(call, wanted);
        const header = identity.header(wanted > 0 ? timeline.head : revision);
        const hashRevision = (await this.reportsRevision()) ? revision : 0;
        const body = HashKVResponse.encode({ hash, compactRevision: compacted || -1, hashRevision });
        return Buffer.concat([header, body]);
      } catch (reason) {
        if (!etcd.compacted.is(reason) || wanted > 0 || round === MAX_ROUNDS) throw reason;
      }
    }
  }

  /** The hash at revision `wanted`, or at the newest revision for 0. */
  private async hashAt(call: Call, wanted: number): Promise<{ hash: number; revision: number }> {
    const digest = createHash("sha256");
    let revision = wanted;
    let key = NO_KEY;
    let limit = FIRST_KEYS;
    for (;;) {
      if (call.cancelled) throw new StatusError(Code.CANCELLED, "context canceled");
      const { header, kvs, more } = await this.read(call, { key, rangeEnd: TO_LAST_KEY, revision, limit });
      // The first page is read at the newest revision, which its header has.
      if (revision === 0) revision = header.revision;
      const page = RangeResponse.encode({ kvs });
      digest.update(page);
      const last = kvs.at(-1);
      if (!more || last === undefined) return { hash: first32Bits(digest), revision };
      key = Buffer.concat([last.key, Uint8Array.of(0)]);
      limit = Math.max(1, Math.min(PAGE_KEYS, Math.floor((PAGE_BYTES * kvs.length) / page.length)));
    }
  }

  /** Whether the shards' etcds report the revision of a hash. They do since 3.6. */
  private async reportsRevision(): Promise<boolean> {
    const ask = (shard: Shard) => shard.call(Maintenance.Status, EMPTY, { idempotent: true });
    const answers = await Promise.all(this.deps.shards.all().map(ask));
    return since36(answers.map((answer) => StatusResponse.decode(answer))).storageVersion !== undefined;
  }

  /** A Range as the proxy itself, without the client's deadline. */
  private read({ metadata }: Call, request: Init<RangeRequest>): Promise<WithHeader<RangeResponse>> {
    const inner = internalCall(KV.Range, { metadata });
    return invoke(this.deps.range, inner, RangeRequest.encode(request), RangeResponse);
  }
}

/** Hash of all data of the shards. As in etcd, it depends on the members that answer and on writes in progress. */
export async function hash(deps: MaintenanceDeps, call: Call): Promise<Uint8Array> {
  const { shards, timeline, identity } = deps;
  const outcomes = await askEach(shards.all(), describeShard, async (shard) => {
    const answer = await shard.call(Maintenance.Hash, EMPTY, optionsFor(call, true));
    return HashResponse.decode(answer).hash;
  });
  const body = HashResponse.encode({ hash: combine(valuesOf(outcomes)) });
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
