/** A proxy's counts of puts since its start, from its metrics. Durations are sums, in seconds. */
export interface PutCounts {
  readonly puts: number;
  /** Time of the puts at the shards. */
  readonly shardSeconds: number;
  /** Time that puts waited for their seal. */
  readonly sealSeconds: number;
  readonly appends: number;
  readonly appendSeconds: number;
  /** Puts that carried their entries, which needed no append. */
  readonly carried: number;
}

/** The parts of a put, on average. */
export interface PutSplit {
  /** Entries in the timeline log per 1,000 puts. */
  readonly appendsPer1000: number;
  /** Time that the timeline host takes to append an entry, in milliseconds. */
  readonly appendMs: number;
  /** Time that the client sees, in milliseconds: the sum of the following. */
  readonly totalMs: number;
  readonly shardMs: number;
  /** Time to wait for the append in flight, if any, and for the one that seals the put. */
  readonly sealMs: number;
  /** The rest: the proxy, the network to it, and the load generator. */
  readonly restMs: number;
}

/** Reads the counts. Rejects if the proxy at the port has no such metrics. */
export async function readPutCounts(port: number): Promise<PutCounts> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const sum = (name: string, labels = ""): number => {
    let total = 0;
    for (const [, given, value] of text.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, "gm")))
      if ((given ?? "").includes(labels)) total += Number(value);
    return total;
  };
  const appendSeconds = sum("braid_timeline_append_duration_seconds_sum");
  return {
    puts: sum("braid_request_duration_seconds_count", 'method="KV.Put"'),
    // Puts and appends are both transactions.
    shardSeconds: sum("braid_shard_request_duration_seconds_sum", 'method="KV.Txn"') - appendSeconds,
    sealSeconds: sum("braid_timeline_seal_duration_seconds_sum"),
    appends: sum("braid_timeline_append_duration_seconds_count"),
    appendSeconds,
    carried: sum("braid_timeline_appends_total", 'result="carried"'),
  };
}

/** The average put between two counts, when puts took `totalMs` on average; undefined if there was no put. */
export function splitPuts(before: PutCounts, after: PutCounts, totalMs: number): PutSplit | undefined {
  const puts = after.puts - before.puts;
  if (puts === 0) return undefined;
  const appends = after.appends - before.appends;
  const shardMs = ((after.shardSeconds - before.shardSeconds) / puts) * 1_000;
  const sealMs = ((after.sealSeconds - before.sealSeconds) / puts) * 1_000;
  return {
    appendsPer1000: ((appends + after.carried - before.carried) / puts) * 1_000,
    appendMs: appends === 0 ? 0 : ((after.appendSeconds - before.appendSeconds) / appends) * 1_000,
    totalMs,
    shardMs,
    sealMs,
    restMs: totalMs - shardMs - sealMs,
  };
}
