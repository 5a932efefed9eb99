import assert from "node:assert/strict";
import type { ServerStream } from "../../src/rpc/call.js";
import type { StatusError } from "../../src/status/error.js";
import { FilterType, WatchRequest, WatchResponse } from "../../src/wire/messages.js";
import { Watch } from "../../src/wire/paths.js";
import type { SimProxy } from "./proxy.js";
import type { Truth, World } from "./world.js";

export interface Wanted {
  readonly key: string;
  readonly end: string;
  readonly prevKv: boolean;
  readonly fragment: boolean;
  readonly filters: readonly FilterType[];
  /** True if the client reads slowly. */
  readonly slow: boolean;
}

/** Bytes that a slow client must read before the proxy is notified. */
const HIGH_WATER_BYTES = 200;

/** A watch client like clientv3: it resumes at the next revision on any proxy, and checks what it gets. */
export class WatchClient {
  /** Revision at which it resumes; 0 until it has started. */
  next = 0;
  /** Events that it got, as text by `describe`. */
  readonly received: string[] = [];
  /** Ranges of revisions that it did not get because they were compacted: [from, to). */
  readonly gaps: { readonly from: number; readonly to: number; readonly bound: () => number }[] = [];
  /** Its first revision. */
  begun = 0;
  private connection: ClientStream | undefined;
  /** Nothing at or below this revision may arrive. */
  private covered = 0;
  private fragments: WatchResponse[] = [];
  private stopped = false;

  constructor(
    private readonly world: World,
    readonly wanted: Wanted,
    from: number,
  ) {
    this.next = from;
    this.begun = from;
    this.open();
  }

  /** Events that it must have got by now. */
  expected(truth: readonly Truth[]): Truth[] {
    const { key, end, filters } = this.wanted;
    if (this.begun === 0) return [];
    return truth.filter(({ revision, event }) => {
      if (revision < this.begun || this.gaps.some(({ from, to }) => revision >= from && revision < to)) {
        return false;
      }
      if (end === "" ? event.key !== key : event.key < key || (end !== "\0" && event.key >= end))
        return false;
      return !filters.includes(event.type === 0 ? FilterType.NOPUT : FilterType.NODELETE);
    });
  }

  /** Checks that the compactions it was cancelled for have happened. */
  checkGaps(): void {
    for (const { from, to, bound } of this.gaps) {
      assert.ok(to > from, `a compaction at ${to} does not concern a watch from ${from}`);
      assert.ok(to <= bound(), `a watch was refused up to ${to}, but compacted is less than ${bound()}`);
    }
  }

  /** Requests progress. */
  askProgress(): void {
    this.connection?.receive(WatchRequest.encode({ kind: "progress" }));
  }

  /** Moves to another proxy. */
  move(): void {
    this.connection?.cancel();
    this.reopen();
  }

  private reopen(): void {
    this.connection = undefined;
    this.fragments = [];
    if (!this.stopped) this.world.scheduler.after(this.world.random.below(100), () => this.open());
  }

  private open(): void {
    if (this.connection !== undefined) return;
    const proxy = this.world.anyProxy();
    if (proxy === undefined) {
      this.reopen();
      return;
    }
    const { key, end, prevKv, fragment, filters } = this.wanted;
    this.covered = Math.max(0, this.next - 1);
    this.connection = new ClientStream(this.world, proxy, this.wanted.slow, {
      frame: (frame) => this.guard(() => this.take(frame)),
      closed: () => this.reopen(),
    });
    proxy.watch(this.connection);
    this.connection.receive(
      WatchRequest.encode({
        kind: "create",
        request: {
          key: Buffer.from(key),
          rangeEnd: Buffer.from(end),
          startRevision: this.next,
          prevKv,
          fragment,
          filters: [...filters],
          progressNotify: this.world.random.chance(0.5),
        },
      }),
    );
  }

  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.world.fail(error);
    }
  }

  private take(bytes: Uint8Array): void {
    const frame = WatchResponse.decode(bytes);
    const revision = frame.header?.revision ?? 0;
    if (frame.created) {
      if (this.next === 0) {
        this.next = revision + 1;
        this.begun = this.next;
      }
      assert.ok(
        revision < Math.max(2, this.next),
        "a watch that is created promises nothing that has not been sent",
      );
      return;
    }
    if (frame.canceled) {
      assert.ok(frame.compactRevision > 0, `a watch was cancelled: ${frame.cancelReason}`);
      this.gaps.push({ from: this.next, to: frame.compactRevision, bound: this.world.compactionBound() });
      this.next = frame.compactRevision;
      this.connection?.cancel();
      this.reopen();
      return;
    }
    this.fragments.push(frame);
    if (frame.fragment) return;
    const events = this.fragments.flatMap((one) => one.events);
    this.fragments = [];
    for (const { type, kv, prevKv } of events) {
      assert.ok(kv !== undefined);
      const { modRevision } = kv;
      assert.ok(modRevision > this.covered, `revision ${modRevision} after a header of ${this.covered}`);
      assert.ok(modRevision >= this.next, `revision ${modRevision} again, or out of order, at ${this.next}`);
      const key = Buffer.from(kv.key).toString();
      const value = Buffer.from(kv.value).toString();
      this.received.push(describe({ revision: modRevision, event: { type, key, value, lease: kv.lease } }));
      if (prevKv !== undefined) {
        assert.ok(this.wanted.prevKv, "a previous key that was not requested");
        this.world.previous.push({ key, revision: modRevision, mod: prevKv.modRevision });
      }
    }
    const last = events[events.length - 1]?.kv?.modRevision ?? 0;
    assert.ok(revision >= last, `an event of ${last} under a header of ${revision}`);
    this.covered = Math.max(this.covered, revision);
    this.next = Math.max(this.next, last + 1, revision + 1);
  }
}

export function describe({ revision, event }: Truth): string {
  const { type, key, value, lease } = event;
  return `${revision} ${type === 0 ? "put" : "delete"} ${key} ${value} ${lease}`;
}

interface StreamListener {
  frame(frame: Uint8Array): void;
  closed(error: StatusError | undefined): void;
}

/** Both ends of a client's stream to a proxy. */
class ClientStream implements ServerStream {
  readonly path = Watch.Watch;
  readonly metadata = { get: () => undefined };
  readonly deadline = Number.POSITIVE_INFINITY;
  cancelled = false;
  queuedBytes = 0;
  private isFull = false;
  private arrival = 0;
  private sent = 0;
  private message: (message: Uint8Array) => void = () => {};
  private drain = () => {};
  private readonly cancelListeners: (() => void)[] = [];

  constructor(
    private readonly world: World,
    private readonly proxy: SimProxy,
    private readonly slow: boolean,
    private readonly listener: StreamListener,
  ) {}

  onMessage(listener: (message: Uint8Array) => void): void {
    this.message = listener;
  }

  onEnd(): void {}

  onDrain(listener: () => void): void {
    this.drain = listener;
  }

  onCancel(listener: () => void): () => void {
    this.cancelListeners.push(listener);
    return () => {};
  }

  pause(): void {}

  resume(): void {}

  send(parts: readonly Uint8Array[]): boolean {
    if (this.cancelled) return true;
    const frame = Buffer.concat(parts);
    this.queuedBytes += frame.length;
    const { scheduler, random } = this.world;
    const delay = this.slow ? 20 + random.below(200) : random.below(5);
    this.arrival = Math.max(this.arrival, scheduler.now + delay);
    scheduler.after(this.arrival - scheduler.now, () => {
      this.queuedBytes -= frame.length;
      if (this.isFull && this.queuedBytes === 0) {
        this.isFull = false;
        this.proxy.clock.after(0, () => this.drain());
      }
      if (!this.cancelled) this.listener.frame(frame);
    });
    if (this.queuedBytes > HIGH_WATER_BYTES) this.isFull = true;
    return !this.isFull;
  }

  end(error?: StatusError): void {
    if (this.cancelled) return;
    this.close();
    this.listener.closed(error);
  }

  /** Sends a message from the client. */
  receive(message: Uint8Array): void {
    const { scheduler, random } = this.world;
    this.sent = Math.max(this.sent, scheduler.now + random.below(5));
    this.proxy.clock.after(this.sent - scheduler.now, () => {
      if (!this.cancelled) this.message(message);
    });
  }

  /** Ends it from the client's end. */
  cancel(): void {
    if (this.cancelled) return;
    this.close();
    this.proxy.clock.after(this.world.random.below(5), () => {
      for (const listener of this.cancelListeners) listener();
    });
  }

  /** To be called when the proxy is gone. */
  lost(): void {
    if (this.cancelled) return;
    this.close();
    for (const listener of this.cancelListeners) listener();
    this.listener.closed(undefined);
  }

  private close(): void {
    this.cancelled = true;
    this.proxy.forget(this);
  }
}
