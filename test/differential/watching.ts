import type { Duplex, EtcdClient, Message } from "./client.js";

/** How long a frame may take to come before the test gives up, ms. */
const PATIENCE = 30_000;

export interface Event {
  readonly type?: string;
  readonly kv: Message;
  readonly prev_kv?: Message;
}

/** One client stream of watches, everything that came over it kept. */
export class WatchRecorder {
  /** Frames that create or cancel, in the order of their coming. */
  readonly control: Message[] = [];
  /** Frames that report progress. */
  readonly progress: Message[] = [];
  /** Events of each watcher, fragments put together. */
  private readonly events = new Map<string, Event[]>();
  /** What each watcher was told last: nothing at or below it may come later. */
  private readonly watermarks = new Map<string, number>();
  /** Violations of what a stream promises by itself. */
  readonly faults: string[] = [];
  private readonly stream: Duplex;
  private ended: string | undefined;
  private wake: () => void = () => undefined;

  /** `strict` streams promise that their headers are watermarks, which etcd's own do not. */
  constructor(
    client: EtcdClient,
    private readonly name: string,
    private readonly strict: boolean,
  ) {
    this.stream = client.watch();
    this.stream.on("data", (frame: Message) => {
      this.take(frame);
      this.wake();
    });
    this.stream.on("error", (error: Error) => {
      this.ended = error.message;
      this.wake();
    });
    this.stream.on("end", () => {
      this.ended ??= "ended by the server";
      this.wake();
    });
  }

  send(request: Message): void {
    this.stream.write(request);
  }

  eventsOf(watchId: string): readonly Event[] {
    return this.events.get(watchId) ?? [];
  }

  /** Resolves when the condition holds; rejects when the stream ends before or nothing comes for long. */
  async until(what: string, condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.ended !== undefined) throw new Error(`${this.name} ended (${this.ended}) waiting for ${what}`);
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`${this.name}: no frame brings ${what}`)), PATIENCE);
        this.wake = () => {
          clearTimeout(late);
          resolve();
        };
      });
    }
  }

  close(): void {
    this.ended ??= "closed";
    this.stream.cancel();
  }

  private take(frame: Message): void {
    const id = String(frame.watch_id ?? "0");
    const events = (frame.events ?? []) as Event[];
    const revision = Number((frame.header as Message).revision ?? 0);
    if (frame.created || frame.canceled) this.control.push(frame);
    else if (events.length === 0) this.progress.push(frame);
    if (frame.created && !frame.canceled) {
      this.events.set(id, []);
      this.watermarks.set(id, revision);
    }
    if (events.length > 0) {
      if (!this.events.has(id)) this.faults.push(`events of watcher ${id}, which was not created`);
      this.events.get(id)?.push(...events);
    }
    if (this.strict) this.checkWatermark(frame, id, events, revision);
  }

  private checkWatermark(frame: Message, id: string, events: readonly Event[], revision: number): void {
    const last = this.watermarks.get(id);
    // As etcd's, the header of a cancellation for compaction has no revision.
    if (last === undefined || frame.created || frame.compact_revision) return;
    const mods = events.map((event) => Number(event.kv.mod_revision));
    if (mods.some((mod) => mod <= last || mod > revision)) {
      this.faults.push(`watcher ${id}: events of ${mods} in a frame with header ${revision} after ${last}`);
    }
    if (revision < last || (events.length > 0 && revision === last)) {
      this.faults.push(`watcher ${id}: header ${revision} after ${last}`);
    }
    // The fragments of one revision share a header; only the last one is a watermark.
    if (!frame.fragment && !frame.canceled) this.watermarks.set(id, revision);
  }
}
