import { performance } from "node:perf_hooks";
import { type Duplex, EtcdClient, type Message } from "../differential/client.js";
import type { Random } from "../kv/model.js";
import { toFrame } from "./codec.js";
import type { Frame, WatchSession } from "./history.js";
import { CHANNEL } from "./recorder.js";

export interface Wanted {
  readonly watcher: string;
  readonly key: string;
  readonly end: string;
  readonly prevKv: boolean;
  /** Where its first session starts; 0 for now. */
  readonly from: number;
}

/** How often a stream asks for progress, and how long it waits before it connects again, ms. */
const PROGRESS_INTERVAL = 250;
const RECONNECT = 50;

type Open = WatchSession & { readonly frames: Frame[] };

/**
 * One watch stream with several watches, everything on it recorded. When it ends, the next one is opened at the other
 * proxy and every watch goes on after its last header, or after its last event.
 */
export class StreamRecorder {
  private readonly clients: readonly EtcdClient[];
  private stream: Duplex | undefined;
  /** By watch id. */
  private open = new Map<string, Open>();
  /** Watcher → the revision after the last header that it was given. */
  private readonly next = new Map<string, number>();
  private readonly timer: NodeJS.Timeout;
  private reconnecting: NodeJS.Timeout | undefined;
  private closed = false;
  private wake: () => void = () => undefined;

  constructor(
    endpoints: readonly string[],
    private proxy: number,
    private readonly wanted: readonly Wanted[],
    private readonly random: Random,
    /** The sessions of all streams. */
    private readonly sessions: WatchSession[],
  ) {
    this.clients = endpoints.map((endpoint) => new EtcdClient(endpoint, CHANNEL));
    for (const { watcher, from } of wanted) this.next.set(watcher, from);
    this.connect();
    this.timer = setInterval(() => this.stream?.write({ progress_request: {} }), PROGRESS_INTERVAL);
  }

  /** Newest revision at or below which every watch of the stream has been told everything. */
  get watermark(): number {
    return Math.min(...this.next.values()) - 1;
  }

  /** Resolves true when all watches have come to `revision`, false when they have not within `patience` ms. */
  async reaches(revision: number, patience: number): Promise<boolean> {
    const deadline = performance.now() + patience;
    while (this.watermark < revision) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      await new Promise<void>((resolve) => {
        const late = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(late);
          resolve();
        };
      });
    }
    return true;
  }

  /** Ends the stream as a client that goes away, and begins again; watches start at what `from` gives each. */
  leap(from: (watcher: string) => number): void {
    for (const watcher of this.next.keys()) this.next.set(watcher, from(watcher));
    this.stream?.cancel();
    this.lost(this.stream);
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    clearTimeout(this.reconnecting);
    this.stream?.cancel();
    for (const client of this.clients) client.close();
  }

  private connect(): void {
    const stream = this.clients[this.proxy].watch();
    this.stream = stream;
    this.open = new Map();
    this.wanted.forEach(({ watcher, key, end, prevKv }, index) => {
      const from = this.next.get(watcher)!;
      const opened = performance.now();
      const session: Open = { watcher, proxy: this.proxy, key, end, prevKv, from, opened, frames: [] };
      this.open.set(String(index + 1), session);
      this.sessions.push(session);
      this.create(String(index + 1), session);
    });
    stream.on("data", (response: Message) => {
      if (this.stream === stream) this.take(response);
    });
    stream.on("error", () => this.lost(stream));
    stream.on("end", () => this.lost(stream));
  }

  private create(id: string, { key, end, prevKv, from }: WatchSession): void {
    const range = { key: Buffer.from(key, "latin1"), range_end: Buffer.from(end, "latin1") };
    this.stream?.write({
      create_request: { ...range, prev_kv: prevKv, start_revision: from, watch_id: id },
    });
  }

  private take(response: Message): void {
    const frame = toFrame(response, performance.now());
    const id = String(response.watch_id ?? "0");
    const session = this.open.get(id);
    if (session === undefined && id !== "-1") throw new Error(`a frame of watch ${id}, which nobody created`);
    // Without an id it is the progress of all watches of the stream.
    const concerned = session === undefined ? [...this.open.values()] : [session];
    for (const session of concerned) {
      session.frames.push(frame);
      if (frame.canceled) this.compacted(id, session, frame.compactRevision);
      else this.advance(session.watcher, frame);
    }
    this.wake();
  }

  private advance(watcher: string, { revision, events }: Frame): void {
    const last = events.length > 0 ? events[events.length - 1].kv.mod : 0;
    // Clients go on after the last event, or after the header.
    const resume = last > 0 && this.random.chance(0.5) ? last : revision;
    this.next.set(watcher, Math.max(this.next.get(watcher)!, resume + 1));
  }

  /** Goes on at the compaction, as all watches of the stream do where they are: on a new stream. */
  private compacted(id: string, { watcher }: WatchSession, compactRevision: number): void {
    this.open.delete(id);
    this.next.set(watcher, Math.max(compactRevision, this.next.get(watcher)!));
    const { stream } = this;
    stream?.cancel();
    this.lost(stream);
  }

  private lost(stream: Duplex | undefined): void {
    if (this.closed || this.stream !== stream) return;
    this.stream = undefined;
    this.proxy = (this.proxy + 1) % this.clients.length;
    clearTimeout(this.reconnecting);
    this.reconnecting = setTimeout(() => this.connect(), RECONNECT);
  }
}
