import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ShardClient } from "../../src/shard/client.js";
import { EtcdHost } from "../../src/timeline/etcdHost.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { TxnRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import type { EtcdProcess } from "../../test/support/etcd.js";
import { newMaps, noOtherHost } from "../../test/support/maps.js";
import { openClient } from "../client.js";
import { startEtcds, startProxy } from "../peers.js";
import { residentMemory } from "../processes.js";
import { median } from "../statistics.js";
import type { ColdOptions } from "./options.js";

const SHARDS = 2;
/** Transactions in flight on each shard while the store is filled. */
const IN_FLIGHT = 64;

export interface ColdFigures {
  /** Seconds from the start of the process until it answers, over the empty store and over the full one. */
  readonly emptySeconds: number;
  readonly fullSeconds: number;
  /** Resident memory then, in bytes. */
  readonly emptyMemory: number;
  readonly fullMemory: number;
  readonly segments: number;
}

/** Measures everything. Ends all processes that it started, also on failure. */
export async function runCold(
  options: ColdOptions,
  dir: string,
  say: (text: string) => void,
): Promise<ColdFigures> {
  const folder = join(dir, "cold");
  mkdirSync(folder);
  const etcds = await startEtcds("etcd", SHARDS + 1, { dir: folder, fsync: true });
  try {
    const [host, ...shards] = etcds;
    const starts = async () => {
      const samples: { seconds: number; memory: number }[] = [];
      for (let i = 0; i < options.starts; i++) {
        const begin = performance.now();
        const proxy = await startProxy({ name: "proxy", dir: folder, shards, host });
        samples.push({
          seconds: (performance.now() - begin) / 1_000,
          memory: residentMemory(proxy.pids.proxy),
        });
        await proxy.stop();
      }
      const middle = (field: "seconds" | "memory") => median(samples.map((sample) => sample[field]));
      return { seconds: middle("seconds"), memory: middle("memory") };
    };
    // The first start makes the store.
    await (await startProxy({ name: "proxy", dir: folder, shards, host })).stop();
    say("starting over the empty store");
    const empty = await starts();
    say(`putting ${options.keys} keys`);
    const reached = await Promise.all(
      shards.map((shard, i) => fill(shard, i, options.keys / SHARDS, options.segments / SHARDS)),
    );
    say("writing the timeline");
    const segments = await seal(host, reached);
    say("starting over the full store");
    const full = await starts();
    return {
      emptySeconds: empty.seconds,
      fullSeconds: full.seconds,
      emptyMemory: empty.memory,
      fullMemory: full.memory,
      segments,
    };
  } finally {
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
}

const clientOf = (etcd: EtcdProcess, index: number): ShardClient =>
  openClient(etcd.endpoint, etcd.name, index);

/** Puts keys in as many transactions as the shard shall have segments. Resolves to the shard's revisions before and after. */
async function fill(
  etcd: EtcdProcess,
  index: number,
  keys: number,
  transactions: number,
): Promise<{ from: number; to: number }> {
  const client = clientOf(etcd, index);
  const value = Buffer.alloc(32, "value ");
  let next = 0;
  const write = async () => {
    while (next < transactions) {
      const n = next++;
      const [from, to] = [n, n + 1].map((t) => Math.round((t * keys) / transactions));
      const puts = Array.from({ length: to - from }, (_, i) => ({
        kind: "put" as const,
        request: { key: Buffer.from(`/full-${index}/${String(from + i).padStart(8, "0")}`), value },
      }));
      await client.call(KV.Txn, TxnRequest.encode({ success: puts }), { idempotent: false });
    }
  };
  try {
    const from = (await new EtcdHost(client).tail()).revision;
    await Promise.all(Array.from({ length: IN_FLIGHT }, write));
    return { from, to: (await new EtcdHost(client).tail()).revision };
  } finally {
    client.close();
  }
}

/**
 * Seals the shards' revisions in turn, one at a time, so that each becomes a segment. The fold is advanced in memory, and the
 * timeline's base is written from it, as a proxy does after many entries. Resolves to the number of segments.
 */
async function seal(
  host: EtcdProcess,
  reached: readonly { readonly from: number; readonly to: number }[],
): Promise<number> {
  const client = clientOf(host, -1);
  const timeline = new SharedTimeline(reached.length, {
    host: new EtcdHost(client),
    hostShard: -1,
    hostOf: noOtherHost,
    proxy: "bench",
    map: "",
    maps: newMaps(),
    runtime: systemRuntime,
    genesis: () => Promise.reject(new Error("the store exists already")),
    accept() {},
  });
  try {
    await timeline.open();
    const { log } = timeline;
    for (let n = 1; reached.some(({ from, to }) => from + n <= to); n++) {
      for (const [shard, { from, to }] of reached.entries()) {
        if (from + n > to) continue;
        const entry = { reached: new Map([[shard, from + n]]), compact: 0, leases: [], raftTerm: 0 };
        log.fold.apply(entry, log.folded.seen);
      }
    }
    if (!(await log.writeBase())) throw new Error("another proxy has written a base");
    await timeline.sync();
    return log.fold.snapshot().table.count;
  } finally {
    timeline.close();
    client.close();
  }
}
