/** Contents of a watch stream. */
export interface WatchListener {
  created(): void;
  /** An event; `sentAt` is the number (double, little endian) that its value begins with. */
  event(sentAt: number): void;
  failed(reason: string): void;
}

const PREFIX_BYTES = 5;

/** Reads the WatchResponses of one gRPC stream without creating objects. */
export class EventReader {
  private rest: Buffer | undefined;
  private at = 0;

  constructor(private readonly listener: WatchListener) {}

  take(chunk: Buffer): void {
    // `chunk` belongs to the socket, so this keeps a copy.
    const bytes = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk]);
    let from = 0;
    while (bytes.length - from >= PREFIX_BYTES) {
      const end = from + PREFIX_BYTES + bytes.readUInt32BE(from + 1);
      if (end > bytes.length) break;
      this.response(bytes, from + PREFIX_BYTES, end);
      from = end;
    }
    this.rest = from === bytes.length ? undefined : Buffer.from(bytes.subarray(from));
  }

  /** WatchResponse: created = 3, canceled = 4, events = 11. */
  private response(bytes: Buffer, from: number, end: number): void {
    this.at = from;
    while (this.at < end) {
      const tag = this.varint(bytes);
      if (tag === ((11 << 3) | 2)) {
        const length = this.varint(bytes);
        const next = this.at + length;
        this.event(bytes, next);
        this.at = next;
      } else if (tag === 3 << 3) {
        if (this.varint(bytes) !== 0) this.listener.created();
      } else if (tag === 4 << 3) {
        if (this.varint(bytes) !== 0) this.listener.failed("a watcher was cancelled");
      } else {
        this.skip(bytes, tag);
      }
    }
  }

  /** Event: kv = 2; KeyValue: value = 5. */
  private event(bytes: Buffer, end: number): void {
    while (this.at < end) {
      const tag = this.varint(bytes);
      if (tag === ((2 << 3) | 2))
        this.varint(bytes); // continue with the fields of the key-value pair
      else if (tag === ((5 << 3) | 2)) {
        const length = this.varint(bytes);
        this.listener.event(length >= 8 ? bytes.readDoubleLE(this.at) : Number.NaN);
        return;
      } else this.skip(bytes, tag);
    }
    this.listener.failed("an event without a value");
  }

  private skip(bytes: Buffer, tag: number): void {
    const wireType = tag & 7;
    if (wireType !== 0 && wireType !== 2) {
      throw new Error(`unexpected wire type ${wireType} in a watch response`);
    }
    const number = this.varint(bytes);
    if (wireType === 2) this.at += number;
  }

  /** Reads a varint. The relevant numbers are small; larger ones lose their upper bits. */
  private varint(bytes: Buffer): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[this.at++];
      if (shift < 28) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }
}
