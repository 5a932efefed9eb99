import assert from "node:assert/strict";
import type { Shard, ShardStream, StreamEvents } from "../../src/shard/shard.js";
import { Code, StatusError } from "../../src/status/error.js";
import { type WatchCreateRequest, WatchRequest, WatchResponse } from "../../src/wire/messages.js";

/** The shard's end of a watch, played by a test. */
export class Upstream implements ShardStream {
  request: WatchCreateRequest | undefined;
  paused = false;
  cancelled = false;

  constructor(private readonly events: StreamEvents) {}

  send(message: Uint8Array): void {
    const decoded = WatchRequest.decode(message);
    assert.equal(decoded.kind, "create");
    if (decoded.kind === "create") this.request = decoded.request;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  cancel(): void {
    this.cancelled = true;
  }

  created(): void {
    this.events.message(WatchResponse.encode({ created: true }));
  }

  /** A frame with one event per given revision, whose key is `prefix` and the revision. */
  bring(revisions: readonly number[], fragment = false, size = 1, prefix = "k"): void {
    const events = revisions.map((modRevision) => ({
      kv: { key: Buffer.from(`${prefix}${modRevision}`), value: Buffer.alloc(size), modRevision },
    }));
    this.events.message(WatchResponse.encode({ events, fragment }));
  }

  compacted(compactRevision: number): void {
    this.events.message(WatchResponse.encode({ canceled: true, compactRevision }));
  }

  end(): void {
    this.events.closed(new StatusError(Code.UNAVAILABLE, "gone"));
  }
}

/** A shard of which only watches are asked. */
export class FakeShard {
  readonly name = "fake";
  readonly streams: Upstream[] = [];
  private opened: () => void = () => {};

  constructor(readonly index = 0) {}

  /** As the rooms above want it. */
  get shard(): Shard {
    return this as unknown as Shard;
  }

  stream(_path: string, events: StreamEvents): ShardStream {
    const upstream = new Upstream(events);
    this.streams.push(upstream);
    this.opened();
    return upstream;
  }

  /** The `n`th watch that the feed opens (from 0). */
  async nth(n: number): Promise<Upstream> {
    while (this.streams.length <= n) {
      await new Promise<void>((resolve) => {
        this.opened = resolve;
      });
    }
    return this.streams[n];
  }
}
