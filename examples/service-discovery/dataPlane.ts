// A data plane: has the whole configuration in memory and follows its changes. Talks JSON, as Apache APISIX does.
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Account, EtcdError, Gateway } from "./gateway.js";
import { base64, DIRECTORIES, digest, EVERYTHING, prefixEnd, text } from "./routes.js";

/** Pause before the next endpoint is tried, ms. */
const PAUSE = 200;

interface Header {
  readonly revision: string;
}

interface KeyValue {
  readonly key: string;
  readonly value?: string;
  readonly mod_revision: string;
}

interface WatchResult {
  readonly header: Header;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly compact_revision?: string;
  readonly cancel_reason?: string;
  readonly events?: readonly { readonly type?: "DELETE"; readonly kv: KeyValue }[];
}

/** What is needed to go on is compacted away: all has to be loaded anew. */
class Compacted extends Error {}

export class DataPlane {
  /** Key → value. */
  readonly entries = new Map<string, string>();
  /** All changes up to here are in `entries`. */
  revision = 0;
  private readonly gateway: Gateway;
  /** Directory → the revision that it was loaded at; what the watch brings up to there is known. */
  private readonly loadedAt = new Map<string, number>();

  constructor(
    endpoints: readonly string[],
    account: Account | undefined,
    private readonly changed: (plane: DataPlane) => void,
  ) {
    this.gateway = new Gateway(endpoints, account);
  }

  /** Runs until `signal`, whatever happens to proxies and shards. */
  async run(signal: AbortSignal): Promise<void> {
    let isLoaded = false;
    while (!signal.aborted) {
      try {
        if (!isLoaded) await this.load(signal);
        isLoaded = true;
        await this.follow(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Compacted) isLoaded = false;
        // The rest passes: an endpoint that is gone, a shard that is down. What is in memory stays in use meanwhile.
        else if (error instanceof EtcdError) process.stderr.write(`${error.message}; trying again\n`);
      }
      this.gateway.moveOn();
      await sleep(PAUSE, undefined, { signal }).catch(() => {});
    }
  }

  private async load(signal: AbortSignal): Promise<void> {
    const loaded = new Map<string, string>();
    for (const directory of DIRECTORIES) {
      const { header, kvs = [] } = await this.gateway.call<{ header: Header; kvs?: KeyValue[] }>(
        "/v3/kv/range",
        { key: base64(directory), range_end: base64(prefixEnd(directory)) },
        signal,
      );
      this.loadedAt.set(directory, Number(header.revision));
      for (const { key, value } of kvs) loaded.set(text(key), text(value));
    }
    this.entries.clear();
    for (const [key, value] of loaded) this.entries.set(key, value);
    // One watch serves all directories, from the one on that was loaded first.
    this.revision = Math.min(...this.loadedAt.values());
    this.changed(this);
  }

  /** One watch over everything, from where this data plane stands. */
  private async follow(signal: AbortSignal): Promise<void> {
    const create = {
      key: base64(EVERYTHING),
      range_end: base64(prefixEnd(EVERYTHING)),
      start_revision: String(this.revision + 1),
    };
    const results = this.gateway.stream<WatchResult>("/v3/watch", { create_request: create }, signal);
    for await (const { header, created, canceled, compact_revision, cancel_reason, events = [] } of results) {
      if (canceled && compact_revision !== undefined) throw new Compacted();
      if (canceled) {
        // A token that is not good any more ends a watch in this way, not with a status.
        this.gateway.forgetToken();
        throw new EtcdError(cancel_reason ?? "the watch was canceled", 2);
      }
      if (created) continue;
      for (const { type, kv } of events)
        this.apply(text(kv.key), type === "DELETE" ? undefined : text(kv.value), kv);
      // All up to the header's revision has been delivered: the next watch can begin after it.
      this.revision = Number(header.revision);
      this.changed(this);
    }
  }

  private apply(key: string, value: string | undefined, { mod_revision }: KeyValue): void {
    const directory = DIRECTORIES.find((each) => key.startsWith(each));
    if (directory === undefined || Number(mod_revision) <= this.loadedAt.get(directory)!) return;
    if (value === undefined) this.entries.delete(key);
    else this.entries.set(key, value);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { ENDPOINTS = "127.0.0.1:2379", ETCD_USER, ETCD_PASSWORD = "" } = process.env;
  const account = ETCD_USER === undefined ? undefined : { name: ETCD_USER, password: ETCD_PASSWORD };
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const plane = new DataPlane(ENDPOINTS.split(","), account, ({ entries, revision }) => {
    process.stdout.write(`revision=${revision} entries=${entries.size} digest=${digest(entries)}\n`);
  });
  await plane.run(stop.signal);
}
