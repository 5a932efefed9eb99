import { isDeepStrictEqual } from "node:util";
import { contains, type Frame, type History, type WatchSession } from "./history.js";
import type { Truth } from "./truth.js";

/**
 * What every watch promises, for each session by itself: ordered, atomic (a revision is in one frame), bookmarkable
 * (a header covers all up to it, and only grows), reliable and unique (exactly the truth's events from its start to
 * its last header), with the right prev_kv. And for each watcher that it came to the end of the history.
 */
export function checkWatches(truth: Truth, history: History): string[] {
  const compacted = compactionsOf(history);
  const faults = history.sessions.flatMap((session) => {
    const name = `watch ${session.watcher} at proxy ${session.proxy} from ${session.from}`;
    const { faults, watermark } = checkFrames(session);
    return [...faults, ...checkEvents(truth, session, watermark, compacted)].map(
      (fault) => `${name}: ${fault}`,
    );
  });
  const ends = new Map<string, number>();
  for (const session of history.sessions) {
    ends.set(session.watcher, Math.max(ends.get(session.watcher) ?? 0, checkFrames(session).watermark));
  }
  for (const [watcher, end] of ends) {
    if (end < history.head) faults.push(`watch ${watcher} has come to ${end}, the store to ${history.head}`);
  }
  return faults;
}

/** First revision that a session tells of. */
function startOf({ from, frames }: WatchSession): number | undefined {
  if (from > 0) return from;
  return frames.length > 0 ? frames[0].revision + 1 : undefined;
}

interface Progress {
  readonly faults: string[];
  readonly watermark: number;
}

function checkFrames(session: WatchSession): Progress {
  const faults: string[] = [];
  let watermark = 0;
  let last = 0;
  let over = false;
  session.frames.forEach((frame, index) => {
    if (over) faults.push(`a frame after its end: ${tell(frame)}`);
    if (frame.created !== (index === 0)) faults.push(`created in frame ${index}: ${tell(frame)}`);
    if (frame.canceled) {
      over = true;
      if (frame.compactRevision === 0) faults.push(`cancelled: ${tell(frame)}`);
      else if (frame.compactRevision <= Math.max(session.from, watermark + 1)) {
        faults.push(`cancelled for a compaction that it does not need: ${tell(frame)} after ${watermark}`);
      }
      return;
    }
    const { revision, events } = frame;
    if (revision < watermark) faults.push(`header ${revision} after ${watermark}`);
    if (events.length > 0) {
      if (frame.created) faults.push(`events in the frame that creates it: ${tell(frame)}`);
      if (index > 0 && revision <= watermark)
        faults.push(`events with header ${revision} after ${watermark}`);
      const mods = events.map(({ kv }) => kv.mod);
      if (mods.some((mod, i) => i > 0 && mod < mods[i - 1])) faults.push(`not in order: ${mods}`);
      if (mods[0] <= last) faults.push(`revision ${mods[0]} after ${last}`);
      if (mods[0] <= watermark) faults.push(`revision ${mods[0]} after header ${watermark}`);
      if (mods[mods.length - 1] > revision) faults.push(`revision ${mods.at(-1)} under header ${revision}`);
      last = Math.max(last, ...mods);
    }
    watermark = Math.max(watermark, revision);
  });
  return { faults, watermark };
}

/**
 * Compares all events with the truth, from the session's start to its watermark. A compaction may take from an event
 * what etcd's own takes: prev_kv at or below its revision, and a deletion at its very revision.
 */
function checkEvents(
  truth: Truth,
  session: WatchSession,
  watermark: number,
  compacted: Compactions,
): string[] {
  const start = startOf(session);
  if (start === undefined) return [];
  const events = session.frames.flatMap(({ events, at }) => events.map((event) => ({ event, at })));
  const until = session.frames[session.frames.length - 1]?.at ?? 0;
  let next = 0;
  for (let revision = Math.max(2, start); revision <= Math.min(watermark, truth.head); revision++) {
    for (const change of truth.changes(revision)) {
      if (!contains(session, change.kv.key)) continue;
      const bare = { ...change, prev: null };
      const due = session.prevKv ? change : bare;
      const given = events[next];
      const equal =
        isDeepStrictEqual(given?.event, due) ||
        (isDeepStrictEqual(given?.event, bare) && compacted(given.at).some((at) => at >= revision));
      if (equal) {
        next++;
      } else if (change.type === "put" || !compacted(until).includes(revision)) {
        const [theirs, ours] = [given?.event, due].map((event) => JSON.stringify(event) ?? "nothing");
        return [`its event ${next} is ${theirs}, due is ${ours} (start ${start}, last header ${watermark})`];
      }
    }
  }
  if (next === events.length) return [];
  return [
    `its event ${next} is ${JSON.stringify(events[next].event)}, due is nothing (last header ${watermark})`,
  ];
}

/** Revisions at which compactions were asked for before a time. */
type Compactions = (before: number) => readonly number[];

function compactionsOf({ calls }: History): Compactions {
  const all = calls.flatMap(({ op, invoked }) =>
    op.kind === "compact" ? [{ at: op.revision, invoked }] : [],
  );
  return (before) => all.filter(({ invoked }) => invoked < before).map(({ at }) => at);
}

function tell({ events, ...frame }: Frame): string {
  return JSON.stringify({ ...frame, events: events.map(({ kv }) => kv.mod) });
}
