import { createHash } from "node:crypto";
import type { Call } from "../../server/transport.js";
import type { Shard } from "../../shard/shard.js";
import { StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { HashKVRequest, HashKVResponse, HashResponse, RangeRequest } from "../../wire/messages.js";
import { KV, Maintenance } from "../../wire/paths.js";
import { EMPTY } from "../../wire/reader.js";
import { type MaintenanceDeps, optionsFor } from "./context.js";
import { answersOf, everywhere } from "./everywhere.js";

/** How often the hash is begun anew at a newer head when the shards go on meanwhile. */
const ROUNDS = 5;
const COMPACTED = etcd.compacted().message;
const FUTURE = etcd.futureRevision().message;
/** Asks a shard to catch up; any key will do. */
const LOOK = RangeRequest.encode({ key: Uint8Array.of(0), countOnly: true });

interface ShardHash {
  readonly hash: number;
  /** The shard revision that the shard is compacted at; not positive when it is not. */
  readonly compacted: number;
  /** Whether the shard tells which revision the hash is of, as etcds do since 3.6. */
  readonly tellsRevision: boolean;
}

/**
 * HashKV of the store at a revision: the first 32 bits of the SHA-256 of the shards' own hashes, in their order, each
 * at the shard's last write at or below that revision. The same through every proxy, as long as the shards are
 * compacted alike. `compact_revision` is the newest at which any shard is; `hash_revision` is told when all shards tell theirs.
 */
export async function hashKv(deps: MaintenanceDeps, call: Call, bytes: Uint8Array): Promise<Uint8Array> {
  const { timeline, identity } = deps;
  const { revision: wanted } = HashKVRequest.decode(bytes);
  for (let round = 1; ; round++) {
    await timeline.sync();
    if (wanted > timeline.head) throw etcd.futureRevision();
    if (wanted > 0 && wanted < timeline.compactRevision) throw etcd.compacted();
    const revision = wanted > 0 ? wanted : timeline.head;
    const header = identity.header(timeline.head);
    try {
      const hashes = await hashesAt(deps, call, revision);
      const compacted = hashes.map(({ compacted }, shard) => timeline.toRevision(shard, compacted));
      const compactRevision = Math.max(timeline.compactRevision, ...compacted) || -1;
      const hash = combine(hashes.map(({ hash }) => hash));
      const hashRevision = hashes.every(({ tellsRevision }) => tellsRevision) ? revision : 0;
      return Buffer.concat([header, HashKVResponse.encode({ hash, compactRevision, hashRevision })]);
    } catch (reason) {
      // At the newest revision only for as long as nobody writes: then there is a newer one.
      if (StatusError.from(reason).message !== COMPACTED || wanted > 0 || round === ROUNDS) throw reason;
    }
  }
}

/** Hash of all that the backends hold, for the curious: it depends on which member answers and on what is in progress. */
export async function hash(deps: MaintenanceDeps, call: Call): Promise<Uint8Array> {
  const { shards, timeline, identity } = deps;
  const outcomes = await everywhere(shards, nameOf, async (shard) => {
    const answer = await shard.call(Maintenance.Hash, EMPTY, optionsFor(call, true));
    return HashResponse.decode(answer).hash;
  });
  const body = HashResponse.encode({ hash: combine(answersOf(outcomes)) });
  return Buffer.concat([identity.header(timeline.head), body]);
}

async function hashesAt(deps: MaintenanceDeps, call: Call, revision: number): Promise<ShardHash[]> {
  const outcomes = await everywhere(deps.shards, nameOf, (shard) => hashAt(deps, call, shard, revision));
  // Etcd's own text, which clients know, where that is all there is to say.
  const compacted = outcomes.find(({ error }) => error?.message === COMPACTED);
  if (compacted?.error !== undefined) throw compacted.error;
  return answersOf(outcomes);
}

async function hashAt(
  { timeline, hostShard }: MaintenanceDeps,
  call: Call,
  shard: Shard,
  revision: number,
): Promise<ShardHash> {
  const options = optionsFor(call, true);
  const target = timeline.lastAt(revision, shard.index);
  const ask = async (at: number): Promise<HashKVResponse> => {
    const request = HashKVRequest.encode({ revision: at });
    return HashKVResponse.decode(await shard.call(Maintenance.HashKV, request, options));
  };
  const askAgain = async (reason: unknown): Promise<HashKVResponse | undefined> => {
    const { message } = StatusError.from(reason);
    if (message === COMPACTED) return undefined;
    if (message !== FUTURE) throw reason;
    // The member that answers lags behind; a linearizable read makes it catch up.
    await shard.call(KV.Range, LOOK, options);
    return ask(target);
  };
  // At the very revision of its compaction etcd 3.4 gives no hash, and 3.5 perhaps one from before it.
  const isNewer = target > timeline.lastAt(timeline.compactRevision, shard.index);
  const found = isNewer ? await ask(target).catch(askAgain) : undefined;
  if (found !== undefined) return shardHash(found);
  if (shard.index === hostShard) return shardHash(await ask(timeline.cutAt(revision, shard.index)));
  const newest = await ask(0);
  return shardHash(newest.header?.revision === target ? newest : await ask(target));
}

function shardHash({ hash, compactRevision, hashRevision }: HashKVResponse): ShardHash {
  return { hash, compacted: compactRevision, tellsRevision: hashRevision > 0 };
}

function combine(hashes: readonly number[]): number {
  const bytes = Buffer.alloc(4 * hashes.length);
  hashes.forEach((hash, i) => {
    bytes.writeUInt32BE(hash, 4 * i);
  });
  return createHash("sha256").update(bytes).digest().readUInt32BE(0);
}

const nameOf = (shard: Shard): string => `shard "${shard.name}"`;
