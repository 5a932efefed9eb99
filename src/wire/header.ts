import { codec, type Init, type MessageCodec } from "./codec.js";
import { field } from "./field.js";
import type { Reader } from "./reader.js";
import { int64Size, putInt64 } from "./varint.js";
import type { Writer } from "./writer.js";

/** Heads every response: who answers, and from which state of the store. */
export interface ResponseHeader {
  clusterId: bigint;
  memberId: bigint;
  revision: number;
  raftTerm: number;
  unknown?: Uint8Array;
}

export function readHeader(
  r: Reader,
  m: ResponseHeader = { clusterId: 0n, memberId: 0n, revision: 0, raftTerm: 0 },
): ResponseHeader {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.clusterId = r.bigUint64();
        break;
      case 0x10:
        m.memberId = r.bigUint64();
        break;
      case 0x18:
        m.revision = r.int64();
        break;
      case 0x20:
        m.raftTerm = r.uint64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 4);
    }
  }
  return m;
}

export function writeHeader(w: Writer, m: Init<ResponseHeader>): void {
  w.raw(m.unknown);
  w.uint64(0x20, m.raftTerm);
  w.int64(0x18, m.revision);
  w.big64(0x10, m.memberId);
  w.big64(0x08, m.clusterId);
}

export const ResponseHeader: MessageCodec<ResponseHeader> = codec(readHeader, writeHeader);

/** The first field of every response. */
export const header = field.message(1, ResponseHeader);

/** Makes the header fields (tag, length and payload) that differ only in their revision. */
export class HeaderTemplate {
  /** What comes before the revision and after it. */
  private readonly before: Uint8Array;
  private readonly after: Uint8Array;

  constructor(header: Init<Omit<ResponseHeader, "revision" | "unknown">>) {
    const { clusterId, memberId, raftTerm } = header;
    this.before = ResponseHeader.encode({ clusterId, memberId });
    this.after = ResponseHeader.encode({ raftTerm });
  }

  /** The field for `revision`, which is above 0. */
  encode(revision: number): Uint8Array {
    const { before, after } = this;
    const size = before.length + 1 + int64Size(revision) + after.length;
    const field = new Uint8Array(2 + size);
    field[0] = 0x0a;
    // Two 64-bit ids, a revision and a term: 44 bytes at most, so that one byte holds the length.
    field[1] = size;
    field.set(before, 2);
    const at = 2 + before.length;
    field[at] = 0x18;
    field.set(after, putInt64(field, at + 1, revision));
    return field;
  }
}
