import assert from "node:assert/strict";
import type { ShardClient } from "../../src/shard/client.js";
import { PutRequest, PutResponse, WatchRequest, WatchResponse } from "../../src/wire/messages.js";
import { KV, Watch } from "../../src/wire/paths.js";
import { shardOf } from "../shard/support.js";
import type { ProxyProcess } from "../support/store.js";
import { until } from "../support/until.js";

/** Writes through one proxy until `stop`, one put at a time. */
export class Writer {
  /** Revision → key and value of the puts that were acknowledged. */
  readonly acknowledged = new Map<number, string>();
  /** The newest of them. */
  newest = 0;
  longestMs = 0;
  private readonly client: ShardClient;
  private readonly running: Promise<void>;
  private stopped = false;

  constructor(proxy: ProxyProcess, name: string) {
    this.client = shardOf([proxy.endpoint]);
    this.running = this.run(name);
  }

  private async run(name: string): Promise<void> {
    for (let n = 0; !this.stopped; n++) {
      const text = `/${name}${n % 50}/k=${n}`;
      const [key, value] = text.split("=").map((each) => Buffer.from(each));
      const since = performance.now();
      const bytes = await this.client.call(KV.Put, PutRequest.encode({ key, value }), { idempotent: false });
      this.longestMs = Math.max(this.longestMs, performance.now() - since);
      this.newest = PutResponse.decode(bytes).header!.revision;
      this.acknowledged.set(this.newest, text);
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
    this.client.close();
  }
}

/** Everything that a watch of all keys delivers. */
export class Watcher {
  readonly events: string[] = [];
  revision = 0;
  private readonly client: ShardClient;

  constructor(proxy: ProxyProcess) {
    this.client = shardOf([proxy.endpoint]);
    const stream = this.client.stream(Watch.Watch, {
      message: (message) => {
        for (const { kv } of WatchResponse.decode(message).events) {
          assert.ok(kv!.modRevision >= this.revision, "in the order of revisions");
          this.revision = kv!.modRevision;
          this.events.push(`${kv!.modRevision} ${Buffer.from(kv!.key)}=${Buffer.from(kv!.value)}`);
        }
      },
      closed: () => {},
    });
    const request = { key: Buffer.from("/"), rangeEnd: Buffer.from("0"), startRevision: 1 };
    stream.send(WatchRequest.encode({ kind: "create", request }));
  }

  close(): void {
    this.client.close();
  }
}

/** Ends the writers. Fails unless each watcher has each write once, and no two have one revision. Resolves to their number. */
export async function stopAndCompare(
  writers: readonly Writer[],
  watchers: readonly Watcher[],
): Promise<number> {
  await Promise.all(writers.map((writer) => writer.stop()));
  const all = writers.flatMap(({ acknowledged }) => [...acknowledged]);
  assert.equal(
    new Set(all.map(([revision]) => revision)).size,
    all.length,
    "each write has its own revision",
  );
  const expected = all.sort(([a], [b]) => a - b).map(([revision, text]) => `${revision} ${text}`);
  for (const watcher of watchers) {
    await until(() => watcher.events.length >= expected.length);
    assert.deepEqual(watcher.events, expected, "a watch has each write once");
    watcher.close();
  }
  return all.length;
}
