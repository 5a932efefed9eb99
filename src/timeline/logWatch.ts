import type { Runtime } from "../turn/runtime.js";
import type { HostChange, HostWatchEvents, LogHost } from "./host.js";

/** Shortest and longest pause before a closed watch is reopened, before jitter. The first time there is none. */
const MIN_REOPEN_DELAY_MS = 25;
const MAX_REOPEN_DELAY_MS = 1_000;

/** The watch of the log on its host. Opens it again when the host closes it. */
export class LogWatch {
  /** Ends the watch; undefined while there is none. */
  private end: (() => void) | undefined;
  private cancelOpening: (() => void) | undefined;
  private delay = 0;

  constructor(
    private readonly runtime: Runtime,
    /** Host revision up to which the log is folded. */
    private readonly seen: () => number,
    private readonly changes: (changes: readonly HostChange[]) => void,
    /** The host has compacted what the watch would deliver next, so it is not opened again. */
    private readonly compacted: () => void,
  ) {}

  /** Watches the log on `host` from where it is folded. */
  open(host: LogHost): void {
    const events: HostWatchEvents = {
      changes: (changes) => {
        this.delay = 0;
        this.changes(changes);
      },
      closed: (_error, compacted) => {
        this.end = undefined;
        if (compacted) this.compacted();
        else this.openLater(host);
      },
    };
    this.end = host.watch(this.seen() + 1, events, this.seen);
  }

  private openLater(host: LogHost): void {
    if (this.cancelOpening !== undefined) return;
    const delay = this.delay * (0.5 + this.runtime.random());
    this.delay = Math.min(MAX_REOPEN_DELAY_MS, this.delay * 2 || MIN_REOPEN_DELAY_MS);
    this.cancelOpening = this.runtime.timer(delay, () => {
      this.cancelOpening = undefined;
      this.open(host);
    });
  }

  /** Opens the watch again, which seems to be stuck. Does nothing while there is none. */
  reopen(host: LogHost): void {
    if (this.end === undefined) return;
    this.end();
    this.open(host);
  }

  /** Ends the watch. It is not opened again by itself. */
  stop(): void {
    this.end?.();
    this.end = undefined;
    this.cancelOpening?.();
    this.cancelOpening = undefined;
  }
}
