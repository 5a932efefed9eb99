import type { ServerStream } from "../rpc/call.js";
import type { SessionState, WatchSession } from "../services/watch/session.js";
import type { Hub } from "../watch/hub.js";
import { AFTER_ALL_KEYS } from "../watch/keys.js";
import type { Watcher } from "../watch/watcher.js";
import type { WatchClientReport, WatchesReport, WatchReport } from "./report.js";

/** Most streams and watches of each that are shown. */
const MAX_CLIENTS = 100;
const MAX_WATCHES = 20;
/** Watches of a stream that are looked at. */
const MAX_EXAMINED = 1_000;
/** Longest key that is shown whole, in bytes. */
const MAX_KEY_BYTES = 1_024;

export interface WatchSources {
  readonly sessions: ReadonlySet<Pick<WatchSession, "state">>;
  readonly hub: Pick<Hub, "watermark">;
  readonly timeline: { readonly head: number };
  /** The store's user that a stream is of; undefined if there is none. */
  userOf(stream: ServerStream): string | undefined;
  readonly workers: number;
}

/** Reports the clients' watches: the slow streams first, then by queued bytes and number of watches. */
export function watchesReport({ sessions, hub, timeline, userOf, workers }: WatchSources): WatchesReport {
  const states = [...sessions].map(({ state }) => state);
  const sum = (read: (state: SessionState) => number) =>
    states.reduce((total, each) => total + read(each), 0);
  const shown = states.sort(byTrouble).slice(0, MAX_CLIENTS);
  return {
    streams: states.length,
    watches: sum(({ count }) => count),
    slow: sum(({ isSlow }) => Number(isSlow)),
    queuedBytes: sum(({ stream }) => stream.queuedBytes),
    clients: shown.map((state) => {
      const watches = examined(state, hub, timeline.head);
      return {
        client: state.stream.usage?.client ?? null,
        user: userOf(state.stream) ?? null,
        since: state.since,
        watches: state.count,
        lag: watches[0]?.lag ?? 0,
        queuedBytes: state.stream.queuedBytes,
        isSlow: state.isSlow,
        eventsSent: state.eventsSent,
        shown: watches.slice(0, MAX_WATCHES),
      } satisfies WatchClientReport;
    }),
    workers,
  };
}

function byTrouble(a: SessionState, b: SessionState): number {
  if (a.isSlow !== b.isSlow) return a.isSlow ? -1 : 1;
  return b.stream.queuedBytes - a.stream.queuedBytes || b.count - a.count;
}

/** The watches of a stream, as far as they are looked at, those that lag most first. */
function examined({ watches }: SessionState, hub: WatchSources["hub"], head: number): WatchReport[] {
  const found: { readonly id: number; readonly watcher: Watcher; readonly lag: number }[] = [];
  for (const { id, watcher } of watches) {
    if (watcher === undefined) continue;
    found.push({ id, watcher, lag: Math.max(0, head - hub.watermark(watcher)) });
    if (found.length === MAX_EXAMINED) break;
  }
  return found
    .sort((a, b) => b.lag - a.lag)
    .slice(0, MAX_WATCHES)
    .map(({ id, watcher, lag }) => {
      const { begin, end } = watcher.range;
      const isSingle = end === `${begin}\0`;
      const rangeEnd = isSingle ? "" : end === AFTER_ALL_KEYS ? "\0" : end;
      return { id, key: encoded(begin), rangeEnd: encoded(rangeEnd), state: watcher.state, lag };
    });
}

/** Keys of the watches are Latin-1 text. */
const encoded = (key: string): string =>
  Buffer.from(key.slice(0, MAX_KEY_BYTES), "latin1").toString("base64url");
