/** HTTP/2 frames of the load generator (RFC 9113). */
export const frames = {
  /** Length of a frame's header, in bytes. */
  HEAD: 9,
  DATA: 0,
  HEADERS: 1,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  END_STREAM: 0x1,
  ACK: 0x1,
  PADDED: 0x8,

  /** Connection preface and settings: no server push, and a window per stream of `window` bytes. */
  preface(window: number): Buffer {
    const settings = Buffer.alloc(12);
    settings.writeUInt16BE(2, 0); // ENABLE_PUSH: 0
    settings.writeUInt16BE(4, 6); // INITIAL_WINDOW_SIZE
    settings.writeUInt32BE(window, 8);
    return Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0, settings)]);
  },
  settingsAnswer: (): Buffer => frame(4, 0x1, 0, NOTHING),
  ping: (payload: Uint8Array): Buffer => frame(6, 0, 0, payload),
  pingAnswer: (payload: Uint8Array): Buffer => frame(6, 0x1, 0, payload),
  data: (stream: number, body: Uint8Array, last: boolean): Buffer => frame(0, last ? 0x1 : 0, stream, body),
  /** Increases the window of the whole connection. */
  windowUpdate(increment: number): Buffer {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(increment);
    return frame(8, 0, 0, payload);
  },
};

const NOTHING = Buffer.alloc(0);

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(9 + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, 9);
  return bytes;
}

/**
 * The HEADERS frames of a connection's requests. The first one puts its fields into the server's header table, and the others
 * refer to them, as real gRPC clients do (RFC 7541).
 */
export class RequestHead {
  private readonly first: Buffer;
  private readonly further: Buffer;
  private sent = false;

  constructor(path: string, authority: string) {
    const fixed = Buffer.from([0x83, 0x86]); // :method POST, :scheme http
    const indexed = [
      field(4, path), // becomes entry 66, then pushed on by those that follow …
      field(1, authority),
      field(31, "application/grpc"),
      Buffer.concat([Buffer.from([0x40]), text("te"), text("trailers")]),
      field(58, "etcd-braid-bench"), // … 62
    ];
    this.first = Buffer.concat([fixed, ...indexed]);
    this.further = Buffer.concat([fixed, Buffer.from([66, 65, 64, 63, 62].map((entry) => 0x80 | entry))]);
  }

  encode(stream: number): Buffer {
    const block = this.sent ? this.further : this.first;
    this.sent = true;
    return frame(1, 0x4, stream, block); // END_HEADERS
  }
}

/** The HEADERS frame of a request that puts nothing into the server's header table, for connections with few requests. */
export const plainHead = (stream: number, path: string, authority: string): Buffer =>
  frame(
    1,
    0x4,
    stream,
    Buffer.concat([
      Buffer.from([0x83, 0x86]),
      plain(4, path),
      plain(1, authority),
      plain(31, "application/grpc"),
      Buffer.concat([Buffer.from([0x00]), text("te"), text("trailers")]),
    ]),
  );

/** A field with an indexed name, not to be added to the table. Only names above 14 need a second byte. */
const plain = (name: number, value: string): Buffer =>
  Buffer.concat([name < 15 ? Buffer.from([name]) : Buffer.from([15, name - 15]), text(value)]);

/** A field with an indexed name, to be added to the table. */
const field = (name: number, value: string): Buffer =>
  Buffer.concat([Buffer.from([0x40 | name]), text(value)]);

/** A string literal without Huffman code, shorter than 127 bytes. */
const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
