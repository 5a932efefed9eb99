import { isDeepStrictEqual } from "node:util";
import type { Message } from "./client.js";
import { extentOf, holdsKey } from "./extents.js";
import { fromWire, type LeaseNames, show, toWire } from "./ops.js";
import { Difference, type PlainSide, type Side } from "./side.js";
import { type Event, WatchRecorder } from "./watching.js";

/** How long etcd may take with an answer to a progress request before it is asked again, ms: a 3.5 may leave it out. */
const ASK_AGAIN = 300;

interface Watcher {
  readonly id: string;
  readonly request: Message;
  /** First revision whose events it is owed. */
  readonly start: number;
  /** What was compacted when it was created. */
  readonly compacted: number;
  /** Events already compared, and how far in the history. */
  compared: number;
  position: number;
}

interface StreamPair {
  readonly plain: WatchRecorder;
  readonly store: WatchRecorder;
  readonly watchers: Map<string, Watcher>;
  /** True when one of its watchers was ended by a compaction. */
  compacted: boolean;
  /** Control frames compared so far. */
  frames: number;
}

/**
 * The watchers of both sides. What they are owed follows from the history, which one more watcher of the plain etcd
 * over everything records: every revision brings at least one event, so it is known when all has come.
 */
export class WatchPair {
  private readonly streams: (StreamPair | undefined)[] = [];
  /** True when watchers that began in the past may not have arrived. */
  private travelling = false;
  private history: WatchRecorder | undefined;

  constructor(
    private readonly plain: PlainSide,
    private readonly store: Side & { readonly proxies: readonly unknown[] },
    /** Revisions (from, to] that differ: their events are not compared. */
    private readonly apart: readonly { from: number; to: number }[],
    private readonly count: (what: string, by?: number) => void,
  ) {}

  /** Ids of the watchers of each stream. */
  living(): string[][] {
    return Array.from(this.streams, (stream) => [...(stream?.watchers.keys() ?? [])]);
  }

  async create(stream: number, request: Message, head: number, compacted: number): Promise<void> {
    const pair = this.open(stream);
    if (this.store.proxies.length > 1) {
      // A proxy that has not heard of the newest revisions yet may create it as of before.
      await this.storeProgress(pair, head);
    }
    const [plain, store] = await this.exchange(pair, { create_request: request }, "a created frame");
    const start = Number(request.start_revision ?? 0);
    const watermark = start !== 0 && !plain.canceled ? Math.max(1, Math.min(head, start - 1)) : head;
    compare(withoutRevision(plain), withoutRevision(store), "created frame");
    // Where etcd answers with the head, the store answers with what the watcher has seen.
    compare(
      { plain: head, store: watermark },
      { plain: revisionOf(plain), store: revisionOf(store) },
      "created",
    );
    if (plain.canceled) return this.count("watch (error)");
    this.count("watch");
    const id = String(plain.watch_id ?? "0");
    if (start !== 0 && start < compacted) {
      const canceled = await this.frames(pair, "a canceled frame");
      compare(withoutRevision(canceled[0]), withoutRevision(canceled[1]), "canceled frame");
      pair.compacted = true;
      return this.count("watch (compacted)");
    }
    if (start !== 0) this.travelling = true;
    const from = start === 0 ? head + 1 : start;
    pair.watchers.set(id, { id, request, start: from, compacted, compared: 0, position: 0 });
  }

  async cancel(stream: number, watchId: string, head: number): Promise<void> {
    await this.settle(head);
    const pair = this.open(stream);
    const request = { cancel_request: { watch_id: watchId } };
    if (!pair.watchers.has(watchId)) {
      // Nobody answers; what one of them says nevertheless comes up with the next frame.
      for (const side of [pair.plain, pair.store]) side.send(request);
      return;
    }
    const [plain, store] = await this.exchange(pair, request, "a canceled frame");
    compare(withoutRevision(plain), withoutRevision(store), "canceled frame");
    // The store's is what the watcher has seen, which may not be the head yet.
    if (revisionOf(store) > head) throw new Difference(`canceled at ${revisionOf(store)}, head ${head}`);
    this.compareEvents(pair, pair.watchers.get(watchId) as Watcher, head);
    pair.watchers.delete(watchId);
    this.count("watch canceled");
  }

  async progress(stream: number, head: number): Promise<void> {
    await this.settle(head);
    const pair = this.open(stream);
    await this.storeProgress(pair, head);
    if (!etcdTells(pair, head)) return;
    const ask = () => pair.plain.send({ progress_request: {} });
    const again = setInterval(ask, ASK_AGAIN);
    ask();
    try {
      const told = () => pair.plain.progress.some((frame) => revisionOf(frame) === head);
      await pair.plain.until("progress", told);
      this.count("watch progress");
    } finally {
      clearInterval(again);
    }
  }

  /** The store answers every request once, with the newest revision. */
  private async storeProgress({ store }: StreamPair, head: number): Promise<void> {
    const before = store.progress.length;
    store.send({ progress_request: {} });
    await store.until("progress", () => store.progress.length > before);
    const answers = store.progress.slice(before).map((frame) => ({ ...frame, header: revisionOf(frame) }));
    compare([{ header: head, watch_id: "-1" }], answers, "progress");
  }

  /** Waits until every watcher has got all events up to `head`, and compares them. */
  async settle(head: number): Promise<void> {
    if (this.streams.length === 0) return;
    await this.record(head);
    for (const pair of this.streams) {
      if (pair === undefined) continue;
      for (const watcher of pair.watchers.values()) {
        const owed = watcher.compared + this.owed(watcher, head).events.length;
        const all = (recorder: WatchRecorder) => () => this.eventsOf(recorder, watcher).length >= owed;
        const what = `${owed} events of watcher ${watcher.id} ${show(watcher.request)}`;
        await pair.store.until(what, all(pair.store));
        await pair.plain.until(what, all(pair.plain));
        this.compareEvents(pair, watcher, head);
      }
      if (pair.store.faults.length > 0) throw new Difference(pair.store.faults.join("\n"));
    }
  }

  /** Ends streams, all their watchers first. */
  async leave(head: number, which: (stream: number) => boolean): Promise<void> {
    for (const [stream, pair] of this.streams.entries()) {
      if (pair === undefined || !which(stream)) continue;
      for (const id of [...pair.watchers.keys()]) await this.cancel(stream, id, head);
      pair.plain.close();
      pair.store.close();
      delete this.streams[stream];
    }
  }

  /** Waits until no watcher is on its way through the past any more, where a compaction would end it. */
  async arrive(head: number): Promise<void> {
    await this.settle(head);
    if (!this.travelling) return;
    this.travelling = false;
    // A watcher without events shows nothing by which its arrival is seen, but etcd counts.
    while (!/^etcd_debugging_mvcc_slow_watcher_total 0$/m.test(await this.plain.metrics())) await pause();
    for (const pair of this.streams) {
      if (!pair?.watchers.size) continue;
      await this.storeProgress(pair, head);
    }
  }

  close(): void {
    this.history?.close();
    for (const pair of this.streams) {
      pair?.plain.close();
      pair?.store.close();
    }
  }

  private open(stream: number): StreamPair {
    const open = this.streams[stream];
    if (open !== undefined) return open;
    const pair = {
      plain: new WatchRecorder(
        this.plain.watchClient(stream),
        `watch stream ${stream} of the plain etcd`,
        false,
      ),
      store: new WatchRecorder(this.store.watchClient(stream), `watch stream ${stream} of the store`, true),
      watchers: new Map(),
      compacted: false,
      frames: 0,
    };
    this.streams[stream] = pair;
    return pair;
  }

  private async exchange(pair: StreamPair, request: Message, what: string) {
    pair.plain.send(toWire(request, this.plain.leases) as Message);
    pair.store.send(toWire(request, this.store.leases) as Message);
    return this.frames(pair, what);
  }

  /** The next control frames of both sides. */
  private async frames(pair: StreamPair, what: string): Promise<[Message, Message]> {
    const { plain, store } = pair;
    const next = pair.frames++;
    await plain.until(what, () => plain.control.length > next);
    await store.until(what, () => store.control.length > next);
    return [plain.control[next], store.control[next]];
  }

  /** Begins the history, before the first operation. */
  async recordHistory(): Promise<void> {
    this.history = new WatchRecorder(this.plain.client, "the history", false);
    this.history.send({
      create_request: { key: Buffer.of(0), range_end: Buffer.of(0), prev_kv: true },
    });
    await this.history.until("its creation", () => this.history?.control.length === 1);
  }

  private async record(head: number): Promise<void> {
    const { history } = this;
    if (history === undefined || head === 1) return;
    const reached = () => Number(history.eventsOf("0").at(-1)?.kv.mod_revision ?? 1) >= head;
    await history.until(`revision ${head}`, reached);
  }

  /** What the watcher has to get next, up to `head`, and where the history goes on after it. */
  private owed(watcher: Watcher, head: number): { events: Event[]; position: number } {
    const history = this.history?.eventsOf("0") ?? [];
    const extent = extentOf(watcher.request);
    const seen = extent.key === "" ? { ...extent, key: "\0" } : extent;
    const filters = (watcher.request.filters ?? []) as string[];
    const events: Event[] = [];
    let position = watcher.position;
    for (; position < history.length; position++) {
      const event = history[position];
      const revision = Number(event.kv.mod_revision);
      if (revision > head) break;
      if (!this.isCompared(event, watcher)) continue;
      if (revision < watcher.start || !holdsKey(seen, (event.kv.key as Buffer).toString("latin1"))) continue;
      if (filters.includes(event.type === "DELETE" ? "NODELETE" : "NOPUT")) continue;
      events.push(owedEvent(event, watcher));
    }
    return { events, position };
  }

  private eventsOf(recorder: WatchRecorder, watcher: Watcher): Event[] {
    return recorder.eventsOf(watcher.id).filter((event) => this.isCompared(event, watcher));
  }

  /** Not what is apart, nor the deletions of a compacted revision, which etcd forgets before 3.5.18 and the store may have. */
  private isCompared({ type, kv }: Event, { start, compacted }: Watcher): boolean {
    const revision = Number(kv.mod_revision);
    if (type === "DELETE" && revision === start && revision === compacted) return false;
    return !this.apart.some(({ from, to }) => from < revision && revision <= to);
  }

  private compareEvents(pair: StreamPair, watcher: Watcher, head: number): void {
    const { events, position } = this.owed(watcher, head);
    const owed = events.map((event) => comparableEvent(event, watcher, this.plain.leases));
    const got = (recorder: WatchRecorder, leases: LeaseNames) =>
      this.eventsOf(recorder, watcher)
        .slice(watcher.compared)
        .map((event) => comparableEvent(event, watcher, leases));
    const what = `events of watcher ${watcher.id} ${show(watcher.request)}`;
    compare(owed, got(pair.store, this.store.leases), what);
    compare(owed, got(pair.plain, this.plain.leases), `plain etcd's ${what}`);
    this.count("watch events", events.length);
    watcher.compared += events.length;
    watcher.position = position;
  }
}

/** A previous state that was compacted when the watcher was created may be missing: it is not compared. */
function comparableEvent(event: Event, watcher: Watcher, leases: LeaseNames): Message {
  const { prev_kv, ...rest } = fromWire(event, leases) as Message;
  const lost = Number(event.kv.mod_revision) <= watcher.compacted;
  return prev_kv && !lost ? { ...rest, prev_kv } : rest;
}

/** What the watcher is owed, of an event of the history, which has the previous state always. */
function owedEvent({ prev_kv, ...event }: Event, watcher: Watcher): Event {
  return watcher.request.prev_kv && prev_kv ? { ...event, prev_kv } : event;
}

/**
 * An etcd 3.5 says nothing on a stream without watchers, with one whose first revision has not come yet, and never
 * again after a compaction has ended one; a 3.4 does, and so does the store.
 */
function etcdTells({ watchers, compacted }: StreamPair, head: number): boolean {
  return !compacted && watchers.size > 0 && [...watchers.values()].every(({ start }) => start <= head);
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 20);
  });
}

function withoutRevision(frame: Message): Message {
  return { ...frame, header: undefined };
}

function revisionOf(frame: Message): number {
  return Number((frame.header as Message).revision ?? 0);
}

function compare(expected: unknown, actual: unknown, what: string): void {
  if (isDeepStrictEqual(actual, expected)) return;
  throw new Difference(`${what}\nexpected: ${show(expected)}\nstore:    ${show(actual)}`);
}
