import { type Codec, codec, type Init, type MessageCodec } from "./codec.js";
import { EMPTY, type Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** One key in one of its versions. */
export interface KeyValue {
  key: Uint8Array;
  /** Revision that created the key, of its current life. */
  createRevision: number;
  /** Revision that wrote this version. */
  modRevision: number;
  /** Writes since the creation, 1 for the first; 0 in the event of a deletion. */
  version: number;
  value: Uint8Array;
  /** Lease that the key is attached to, 0 for none. */
  lease: bigint;
  unknown?: Uint8Array;
}

export function readKeyValue(
  r: Reader,
  m: KeyValue = { key: EMPTY, createRevision: 0, modRevision: 0, version: 0, value: EMPTY, lease: 0n },
): KeyValue {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.key = r.data();
        break;
      case 0x10:
        m.createRevision = r.int64();
        break;
      case 0x18:
        m.modRevision = r.int64();
        break;
      case 0x20:
        m.version = r.int64();
        break;
      case 0x2a:
        m.value = r.data();
        break;
      case 0x30:
        m.lease = r.bigInt64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 6);
    }
  }
  return m;
}

export function writeKeyValue(w: Writer, m: Init<KeyValue>): void {
  w.raw(m.unknown);
  w.big64(0x30, m.lease);
  w.data(0x2a, m.value);
  w.int64(0x20, m.version);
  w.int64(0x18, m.modRevision);
  w.int64(0x10, m.createRevision);
  w.data(0x0a, m.key);
}

export const KeyValue: MessageCodec<KeyValue> = codec(readKeyValue, writeKeyValue);

/** What happened to a key. */
export const EventType = { PUT: 0, DELETE: 1 } as const;
export type EventType = (typeof EventType)[keyof typeof EventType];

/** One change of one key. */
export interface Event {
  type: EventType;
  /** The key after the change; for a deletion only its key and mod revision. */
  kv?: KeyValue;
  /** The key before the change, if it was asked for and is not compacted. */
  prevKv?: KeyValue;
  unknown?: Uint8Array;
}

export function readEvent(r: Reader, m: Event = { type: 0 }): Event {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.type = r.int32() as EventType;
        break;
      case 0x12:
        m.kv = r.message(readKeyValue, m.kv);
        break;
      case 0x1a:
        m.prevKv = r.message(readKeyValue, m.prevKv);
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

export function writeEvent(w: Writer, m: Init<Event>): void {
  w.raw(m.unknown);
  w.message(0x1a, writeKeyValue, m.prevKv);
  w.message(0x12, writeKeyValue, m.kv);
  w.int64(0x08, m.type);
}

export const Event: Codec<Event> = codec(readEvent, writeEvent);
