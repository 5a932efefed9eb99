import type { Config } from "../../config/types.js";
import type { ServerStream } from "../../rpc/call.js";
import { StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import type { Hub } from "../../watch/hub.js";
import { type Outlet, Watcher } from "../../watch/watcher.js";
import { type WatchCreateRequest, WatchRequest } from "../../wire/messages.js";
import { encodeWatchHead, type WatchFlags } from "../../wire/watch.js";
import type { Identity } from "../identity.js";
import { Admission, type AdmissionDeps, type Admitted, REFUSAL_DELAY_MS } from "./admission.js";
import { WatchMemory } from "./memory.js";
import { reasonOf } from "./permission.js";

export interface SessionDeps extends AdmissionDeps {
  readonly identity: Identity;
  readonly hub: Hub;
  readonly limits: Pick<Config["watch"], "streamBufferBytes" | "progressNotifyMs">;
  /** The open sessions of this proxy. Each adds and removes itself. */
  readonly sessions: Set<WatchSession>;
}

/** What one client's stream looks like from outside. */
export interface SessionState {
  readonly stream: ServerStream;
  /** When it began, in milliseconds since the epoch. */
  readonly since: number;
  /** Number of watches. */
  readonly count: number;
  readonly watches: Iterable<{ readonly id: number; readonly watcher: Watcher | undefined }>;
  /** True while the client leaves so much unread that it gets no further events. */
  readonly isSlow: boolean;
  readonly eventsSent: number;
}

/** etcd's watch id for "no watch" and for "all watches of this stream". */
const NO_WATCH = -1;
/** Most requests that may wait for the newest revision. Above it, the client's stream is not read. */
const MAX_WAITING = 256;
/** Most requests that are served in one turn of the event loop. */
const MAX_PER_TURN = 8;
/** Pause before a failed progress request is retried, in milliseconds. */
const PROGRESS_RETRY_MS = 1_000;

/** One client's watch stream: handles its requests in order, and sends the frames of its watches. */
export class WatchSession implements Outlet {
  private readonly watches = new Map<number, ClientWatch>();
  private nextId = 0;
  private readonly requests: WatchRequest[] = [];
  private requestBytes = 0;
  private readonly memory: WatchMemory;
  private readonly admission: Admission;
  private working = false;
  private held = false;
  private full = false;
  private closed = false;
  /** The client has half-closed: it cannot send anything more. This is usual over JSON. */
  private inputOver = false;
  /** Whether a progress request is being answered. `progressTarget` is the revision that all watches must reach, once known. */
  private progressAsked = false;
  private progressAskedAgain = false;
  private progressTarget: number | undefined;
  /** The highest revision in a header so far. */
  private newest = 0;
  private eventsSent = 0;
  private readonly since = Date.now();
  private stopProgressTimer = () => {};
  private stopListening: (() => void) | undefined;
  /** Set for a client that requires a leader on the shards of its watches. */
  private ignoreOutages: (() => void) | undefined;
  private stopNotifying: (() => void) | undefined;

  constructor(
    private readonly deps: SessionDeps,
    private readonly stream: ServerStream,
  ) {
    this.memory = new WatchMemory(stream.usage ?? { watchBytes: 0, requestBytes: 0 }, deps.hub.stats.memory);
    this.admission = new Admission(deps, stream, this.memory);
    stream.onMessage((message) => this.receive(message));
    // A client may half-close and only listen. etcd goes on, too.
    stream.onEnd(() => {
      this.inputOver = true;
    });
    stream.onDrain(() => this.drained());
    stream.onCancel(() => this.close());
    if (stream.metadata.get("hasleader") === "true") {
      this.ignoreOutages = deps.hub.onOutage(() => this.requireLeader());
    }
    deps.hub.stats.streams++;
    deps.sessions.add(this);
  }

  /** Valid until the end of this turn of the event loop. */
  get state(): SessionState {
    const { stream, since, watches, full, eventsSent } = this;
    const entries = watches.entries();
    return {
      stream,
      since,
      count: watches.size,
      watches: (function* () {
        for (const [id, { watcher }] of entries) yield { id, watcher };
      })(),
      isSlow: full,
      eventsSent,
    };
  }

  get blocked(): boolean {
    return this.full;
  }

  send(parts: readonly Uint8Array[], events: number, revision: number): void {
    const { stats } = this.deps.hub;
    if (revision > this.newest) this.newest = revision;
    stats.eventsOut += events;
    this.eventsSent += events;
    const flowing = this.stream.send(parts);
    // The stream calls `onDrain` only after `send` has returned false.
    const { stream, deps } = this;
    if (!flowing && (stream.queuedBytes >= deps.limits.streamBufferBytes || stream.isOverfull)) {
      if (!this.full) stats.blocked++;
      this.full = true;
      this.hold();
    }
  }

  header(revision: number): Uint8Array {
    return this.deps.identity.header(revision);
  }

  compacted(watcher: Watcher, compactRevision: number): void {
    // The client may have cancelled the watch meanwhile.
    if (this.watches.get(watcher.id)?.watcher === watcher) this.endCompacted(watcher.id, compactRevision);
  }

  /** As in etcd, the id stays in use until the client cancels it, and the header's revision and the reason are empty. */
  private endCompacted(id: number, compactRevision: number): void {
    const { cost = 0, release } = this.watches.get(id) ?? {};
    this.watches.set(id, { watcher: undefined, progressNotify: false, since: 0, cost, release });
    this.control(0, id, { canceled: true, compactRevision });
    this.answerProgress();
  }

  private receive(message: Uint8Array): void {
    if (this.closed) return;
    if (!this.memory.addRequest(message.length)) {
      this.deps.hub.stats.refused++;
      this.close();
      this.stream.end(etcd.tooManyRequests());
      return;
    }
    this.requestBytes += message.length;
    try {
      this.requests.push(WatchRequest.decode(message));
    } catch (reason) {
      this.close();
      this.stream.end(StatusError.from(reason));
      return;
    }
    if (this.requests.length > MAX_WAITING) this.hold();
    if (!this.working) void this.work();
  }

  /** Serves requests in order, because clients match `created` frames by it. */
  private async work(): Promise<void> {
    this.working = true;
    while (this.requests.length > 0 && !this.closed) {
      // One read of the timeline's end serves all requests that have arrived by now.
      const batch = this.requests.splice(0);
      const bytes = this.requestBytes;
      this.requestBytes = 0;
      if (batch.some((request) => request.kind === "create" && request.request.startRevision === 0)) {
        // Without the host, a watch begins at the head that is known here, as at a lagging member of etcd.
        await this.deps.timeline.sync().catch(() => {});
      }
      const oldest = oldestStart(batch);
      if (oldest !== undefined) await this.deps.hub.learnCompaction(oldest);
      const { caller } = this.stream;
      const refusals = caller === undefined ? undefined : await this.admission.judge(batch);
      for (const [i, request] of batch.entries()) {
        // Others get their turn between the requests of a client that has sent many.
        if (i % MAX_PER_TURN === MAX_PER_TURN - 1) await this.nextTurn();
        if (this.closed) return;
        const refusal = refusals?.[i];
        if (refusal !== undefined) {
          if (!this.refuse(refusal)) return;
          continue;
        }
        const held = this.inputOver ? this.admission.hold(request) : undefined;
        if (held !== undefined) await held;
        if (this.closed) return;
        this.serve(request);
      }
      if (this.closed) return;
      this.memory.removeRequests(bytes);
    }
    this.working = false;
    this.release();
  }

  private async nextTurn(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.deps.runtime.later(resolve);
    });
  }

  /** Refuses a request. Returns false when that ends the stream: a shard is down, and the client should try again. */
  private refuse(refusal: StatusError): boolean {
    const cancelReason = reasonOf(refusal);
    if (cancelReason !== undefined) {
      this.control(this.deps.timeline.head, NO_WATCH, { created: true, canceled: true, cancelReason });
      return true;
    }
    this.close();
    this.stream.end(refusal);
    return false;
  }

  private serve(request: WatchRequest): void {
    if (request.kind === "create") this.create(request.request);
    else if (request.kind === "cancel") this.cancel(request.watchId);
    else if (request.kind === "progress") this.askProgress();
  }

  private create(request: WatchCreateRequest): void {
    const { timeline, hub } = this.deps;
    const { head, compactRevision } = timeline;
    const isUsed = request.watchId !== 0 && this.watches.has(request.watchId);
    const admitted = this.admission.admit(request, isUsed);
    if (typeof admitted === "string") {
      this.control(head, NO_WATCH, { created: true, canceled: true, cancelReason: admitted });
      return;
    }
    const { plan, cost, release } = admitted;
    const { startRevision } = request;
    const id = request.watchId === 0 ? this.freeId() : request.watchId;
    // The header must not cover events that have not been sent yet. Revision 1 has no events.
    const created = startRevision === 0 ? head : Math.max(1, Math.min(head, startRevision - 1));
    this.control(created, id, { created: true });
    const compacted = startRevision !== 0 && startRevision < compactRevision;
    if (compacted && plan.kind === "hidden") {
      this.watches.set(id, { watcher: undefined, progressNotify: false, since: 0, cost, release });
      this.endCompacted(id, compactRevision);
      return;
    }
    const next = startRevision === 0 ? head + 1 : startRevision;
    const watch: ClientWatch = {
      watcher:
        plan.kind === "visible"
          ? new Watcher(this, { ...plan, id, next, compacted: compactRevision })
          : undefined,
      progressNotify: request.progressNotify,
      since: this.deps.runtime.now(),
      cost,
      release,
    };
    this.watches.set(id, watch);
    if (compacted && watch.watcher !== undefined) {
      hub.refuse(watch.watcher, compactRevision);
      return;
    }
    hub.stats.created++;
    if (watch.progressNotify) this.startNotifying();
    if (watch.watcher !== undefined) hub.attach(watch.watcher);
  }

  /**
   * Ends the stream if a watch lacks a leader, as etcd does, so that the client tries another proxy, which may reach the
   * shard. Does not count a new watch: the shard may be back when the hub reports the outage again.
   */
  private requireLeader(): void {
    const youngest = this.deps.runtime.now() - REFUSAL_DELAY_MS;
    for (const { watcher, since } of this.watches.values()) {
      if (watcher === undefined || since > youngest || !this.deps.hub.lacksLeader(watcher)) continue;
      this.close();
      this.stream.end(etcd.noLeader());
      return;
    }
  }

  private cancel(id: number): void {
    const watch = this.watches.get(id);
    if (watch === undefined) return;
    const revision = this.watermark(watch);
    if (watch.watcher !== undefined) this.deps.hub.detach(watch.watcher);
    this.watches.delete(id);
    this.memory.removeWatch(watch.cost);
    watch.release?.();
    this.control(revision, id, { canceled: true });
    this.answerProgress();
  }

  private freeId(): number {
    while (this.watches.has(this.nextId)) this.nextId++;
    return this.nextId++;
  }

  private watermark({ watcher }: ClientWatch): number {
    return watcher === undefined ? this.deps.timeline.head : this.deps.hub.watermark(watcher);
  }

  private askProgress(): void {
    if (this.progressAsked) {
      // The response to this request has to cover the newest revision, which the one in progress may not.
      this.progressAskedAgain = true;
      return;
    }
    this.progressAsked = true;
    const { timeline } = this.deps;
    timeline.sync().then(
      () => {
        if (this.closed) return;
        this.progressTarget = timeline.head;
        this.stopListening = this.deps.hub.onProgress(() => this.answerProgress());
        this.answerProgress();
      },
      () => {
        if (this.closed) return;
        this.progressAsked = false;
        this.stopProgressTimer = this.deps.runtime.timer(PROGRESS_RETRY_MS, () => this.askProgress());
      },
    );
  }

  /**
   * Answers a progress request once all watches have reached its revision. The response concerns all of them, so its revision
   * must not be lower than what any of them has been sent: clients would see revisions go back.
   */
  private answerProgress(): void {
    if (this.progressTarget === undefined) return;
    const target = Math.max(this.progressTarget, this.newest);
    let revision = this.deps.timeline.head;
    for (const watch of this.watches.values()) {
      revision = Math.min(revision, this.watermark(watch));
      if (revision < target) return;
    }
    this.progressTarget = undefined;
    this.stopListening?.();
    this.progressAsked = false;
    this.control(revision, NO_WATCH);
    if (!this.progressAskedAgain) return;
    this.progressAskedAgain = false;
    this.askProgress();
  }

  private startNotifying(): void {
    const { limits, runtime } = this.deps;
    // With jitter, because clients often reconnect all at once.
    const ms = limits.progressNotifyMs * (1 + runtime.random() / 10);
    this.stopNotifying ??= runtime.interval(ms, () => this.notify());
  }

  /** Sends progress for watches without events since the last time. A new watch gets it the first time. */
  private notify(): void {
    for (const [id, watch] of this.watches) {
      if (!watch.progressNotify) continue;
      const { watcher } = watch;
      const active = watcher?.active === true;
      if (watcher !== undefined) watcher.active = false;
      if (active || this.full || watcher?.isBehind === true) continue;
      this.control(this.watermark(watch), id);
    }
  }

  private control(revision: number, id: number, flags?: WatchFlags): void {
    this.send([encodeWatchHead(this.header(revision), id, flags)], 0, revision);
  }

  private hold(): void {
    if (this.held) return;
    this.held = true;
    this.stream.pause();
  }

  private release(): void {
    if (!this.held || this.full || this.requests.length > MAX_WAITING) return;
    this.held = false;
    this.stream.resume();
  }

  private drained(): void {
    if (!this.full) return;
    this.full = false;
    this.release();
    for (const { watcher } of this.watches.values()) {
      if (watcher !== undefined) this.deps.hub.unblocked(watcher);
    }
  }

  private close(): void {
    if (this.closed) return;
    this.closed = true;
    this.deps.hub.stats.streams--;
    this.deps.sessions.delete(this);
    this.memory.close();
    this.stopListening?.();
    this.ignoreOutages?.();
    this.admission.close();
    this.stopProgressTimer();
    this.stopNotifying?.();
    for (const { watcher, release } of this.watches.values()) {
      if (watcher !== undefined) this.deps.hub.detach(watcher);
      release?.();
    }
    this.progressTarget = undefined;
    this.watches.clear();
    this.requests.length = 0;
  }
}

interface ClientWatch extends Pick<Admitted, "cost" | "release"> {
  /** Undefined for a watch without further events: it was compacted, or all its keys are reserved. */
  readonly watcher: Watcher | undefined;
  readonly progressNotify: boolean;
  /** When it was created, `Runtime.now()`. */
  readonly since: number;
}

/** The lowest start revision in these requests; undefined if none has one. */
function oldestStart(batch: readonly WatchRequest[]): number | undefined {
  let oldest: number | undefined;
  for (const request of batch) {
    const start = request.kind === "create" ? request.request.startRevision : 0;
    if (start > 0 && (oldest === undefined || start < oldest)) oldest = start;
  }
  return oldest;
}
