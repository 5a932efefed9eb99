import type { Init } from "./codec.js";
import { ResponseHeader } from "./generated/codecs.js";
import * as tags from "./generated/tags.js";
import { int64Size, putInt64 } from "./varint.js";

/** The first field of every response. */
const { header: HEADER } = tags.RangeResponse;
const { revision: REVISION } = tags.ResponseHeader;

/** Encodes header fields (tag, length and payload) that differ only in their revision. */
export class HeaderTemplate {
  /** The bytes before and after the revision. */
  private readonly before: Uint8Array;
  private readonly after: Uint8Array;

  constructor(header: Init<Omit<ResponseHeader, "revision" | "unknown">>) {
    const { clusterId, memberId, raftTerm } = header;
    this.before = ResponseHeader.encode({ clusterId, memberId });
    this.after = ResponseHeader.encode({ raftTerm });
  }

  /** Returns the header field for `revision`, which must be above 0. */
  encode(revision: number): Uint8Array {
    const { before, after } = this;
    const size = before.length + 1 + int64Size(revision) + after.length;
    const field = new Uint8Array(2 + size);
    field[0] = HEADER;
    // Two 64-bit ids, a revision and a term take at most 44 bytes, so the length fits into one byte.
    field[1] = size;
    field.set(before, 2);
    const at = 2 + before.length;
    field[at] = REVISION;
    field.set(after, putInt64(field, at + 1, revision));
    return field;
  }
}
