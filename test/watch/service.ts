import { openStore, type Store } from "../../src/app/store/store.js";
import { createLog } from "../../src/ops/log.js";
import type { ServerStream } from "../../src/rpc/call.js";
import { createIdentity } from "../../src/services/identity.js";
import { createWatch, type WatchLimits, type WatchService } from "../../src/services/watch.js";
import type { StatusError } from "../../src/status/error.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { type WatchCreateRequest, WatchRequest, WatchResponse } from "../../src/wire/messages.js";
import type { EtcdProcess } from "../support/etcd.js";
import { configOf } from "./support.js";

export interface TestWatchService {
  readonly service: WatchService;
  readonly store: Store;
  close(): void;
}

/** The Watch service over a separate store, without a transport. */
export async function openWatchService(
  shards: readonly EtcdProcess[],
  limits: WatchLimits,
): Promise<TestWatchService> {
  const log = createLog("silent");
  const store = await openStore(configOf(shards), log);
  const { timeline } = store;
  const identity = createIdentity({ clusterId: store.id, memberId: 7n, timeline });
  const service = createWatch({
    timeline,
    shards: store.shards,
    identity,
    limits,
    log,
    runtime: systemRuntime,
  });
  const close = () => {
    service.stop?.();
    store.close();
  };
  return { service, store, close };
}

/** The server's end of a stream. The test controls when the client reads. */
export class TestStream implements ServerStream {
  readonly metadata = { get: () => undefined };
  readonly deadline = Number.POSITIVE_INFINITY;
  cancelled = false;
  queuedBytes = 0;
  /** Most bytes ever queued. */
  highest = 0;
  paused = false;
  error: StatusError | undefined;
  /** Frames that the client has read. */
  readonly frames: WatchResponse[] = [];
  private readonly queue: Uint8Array[] = [];
  private blocked = false;
  private message: (message: Uint8Array) => void = () => {};
  private ended: () => void = () => {};
  private drained: () => void = () => {};
  private readonly cancels = new Set<() => void>();
  private changed: () => void = () => {};

  /** The client reads everything at once up to `highWaterBytes`. */
  constructor(
    readonly path: string,
    private readonly highWaterBytes: number,
  ) {}

  create(request: Partial<WatchCreateRequest>): void {
    this.receive(WatchRequest.encode({ kind: "create", request }));
  }

  receive(message: Uint8Array): void {
    this.message(message);
  }

  /** The client cannot send anything more, as usual over JSON. */
  halfClose(): void {
    this.ended();
  }

  /** Reads all queued frames. */
  drain(): void {
    for (const frame of this.queue.splice(0)) this.frames.push(WatchResponse.decode(frame));
    this.queuedBytes = 0;
    if (!this.blocked) return;
    this.blocked = false;
    this.drained();
  }

  cancel(): void {
    this.cancelled = true;
    for (const listener of this.cancels) listener();
  }

  /** Resolves once the condition holds. It is checked after each frame. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.changed = resolve;
      });
    }
  }

  onMessage(listener: (message: Uint8Array) => void): void {
    this.message = listener;
  }

  onEnd(listener: () => void): void {
    this.ended = listener;
  }

  onDrain(listener: () => void): void {
    this.drained = listener;
  }

  onCancel(listener: () => void): () => void {
    this.cancels.add(listener);
    return () => this.cancels.delete(listener);
  }

  send(parts: readonly Uint8Array[]): boolean {
    const frame = Buffer.concat(parts);
    this.queue.push(frame);
    this.queuedBytes += frame.length;
    this.highest = Math.max(this.highest, this.queuedBytes);
    if (this.queuedBytes > this.highWaterBytes) this.blocked = true;
    else if (!this.blocked) this.drain();
    this.changed();
    return !this.blocked;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  end(error?: StatusError): void {
    this.error = error;
    this.changed();
  }
}
