import { type Codec, codec, type Init } from "./codec.js";
import type { Reader } from "./reader.js";
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

export const ResponseHeader: Codec<ResponseHeader> = codec(readHeader, writeHeader);
