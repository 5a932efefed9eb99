/** What a proxy has counted of puts since it started, from its metrics. Durations are sums, in seconds. */
export interface PutCounts {
  readonly puts: number;
  /** Of the puts at the shards. */
  readonly shardSeconds: number;
  /** How long puts waited for their seal. */
  readonly sealSeconds: number;
  readonly appends: number;
  readonly appendSeconds: number;
}

/** What a put is made of, on average. */
export interface PutSplit {
  /** Entries in the timeline log per 1,000 puts. */
  readonly appendsPer1000: number;
  /** How long the timeline's host takes to take an entry, ms. */
  readonly appendMs: number;
  /** As the client sees it, ms: the sum of the following. */
  readonly totalMs: number;
  readonly shardMs: number;
  /** Waiting for the append under way, if any, and for the one that seals the put. */
  readonly sealMs: number;
  /** The rest: the proxy, the way to it and back, and the load generator. */
  readonly restMs: number;
}

/** Rejects when the proxy at the port has no such metrics. */
export async function readPutCounts(port: number): Promise<PutCounts> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const sum = (name: string, labels = ""): number => {
    let total = 0;
    for (const [, given, value] of text.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, "gm")))
      if ((given ?? "").includes(labels)) total += Number(value);
    return total;
  };
  const put = 'method="KV.Put"';
  return {
    puts: sum("braid_request_duration_seconds_count", put),
    shardSeconds: sum("braid_shard_request_duration_seconds_sum", put),
    sealSeconds: sum("braid_timeline_seal_duration_seconds_sum"),
    appends: sum("braid_timeline_append_duration_seconds_count"),
    appendSeconds: sum("braid_timeline_append_duration_seconds_sum"),
  };
}

/** What happened between two looks, while puts took `totalMs` on average; undefined when there was no put. */
export function splitPuts(before: PutCounts, after: PutCounts, totalMs: number): PutSplit | undefined {
  const puts = after.puts - before.puts;
  if (puts === 0) return undefined;
  const appends = after.appends - before.appends;
  const shardMs = ((after.shardSeconds - before.shardSeconds) / puts) * 1_000;
  const sealMs = ((after.sealSeconds - before.sealSeconds) / puts) * 1_000;
  return {
    appendsPer1000: (appends / puts) * 1_000,
    appendMs: ((after.appendSeconds - before.appendSeconds) / appends) * 1_000,
    totalMs,
    shardMs,
    sealMs,
    restMs: totalMs - shardMs - sealMs,
  };
}
