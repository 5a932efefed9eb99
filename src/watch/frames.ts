// Indices below are in range by construction; `!` keeps the hot loop free of checks.

/** The plan of one WatchResponse, with events `from` up to, but without, `to`. */
export interface Frame {
  readonly from: number;
  readonly to: number;
  /** `header.revision`. */
  readonly revision: number;
  /** True if the rest of this revision follows in the next frame. */
  readonly fragment: boolean;
}

/** Bytes of events above which a frame ends with its revision. */
export const FRAME_BYTES = 1 << 20;

/**
 * Splits one watcher's events into frames of at most `FRAME_BYTES`, between revisions. A larger revision gets a separate
 * frame. If the client requested `fragment`, it is split over several frames with the same `header.revision`; all but the
 * last are marked.
 *
 * `revisions[i]` is the revision of event i, ascending. `sizes[i]` is its size in bytes. `covered`, not below the last
 * revision, is the header of the last frame: all events up to it have been delivered then.
 */
export function planFrames(
  revisions: readonly number[],
  sizes: readonly number[],
  covered: number,
  fragment: boolean,
): Frame[] {
  const frames: Frame[] = [];
  const count = revisions.length;
  const emit = (from: number, to: number) => {
    frames.push({ from, to, revision: to === count ? covered : revisions[to - 1]!, fragment: false });
  };
  let begin = 0;
  let bytes = 0;
  let at = 0;
  while (at < count) {
    let end = at;
    let size = 0;
    while (end < count && revisions[end] === revisions[at]) size += sizes[end++]!;
    if (bytes > 0 && bytes + size > FRAME_BYTES) {
      emit(begin, at);
      begin = at;
      bytes = 0;
    }
    if (fragment && size > FRAME_BYTES) {
      begin = splitRevision(frames, sizes, at, end, end === count ? covered : revisions[at]!);
      size = 0;
    }
    bytes += size;
    at = end;
  }
  if (begin < count) emit(begin, count);
  return frames;
}

/** Adds the frames of one large revision. Returns the index after its last event. */
function splitRevision(
  frames: Frame[],
  sizes: readonly number[],
  from: number,
  to: number,
  revision: number,
): number {
  let begin = from;
  let bytes = 0;
  for (let i = from; i < to; i++) {
    if (i > begin && bytes + sizes[i]! > FRAME_BYTES) {
      frames.push({ from: begin, to: i, revision, fragment: true });
      begin = i;
      bytes = 0;
    }
    bytes += sizes[i]!;
  }
  frames.push({ from: begin, to, revision, fragment: false });
  return to;
}
