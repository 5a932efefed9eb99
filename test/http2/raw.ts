import { connect, type Socket } from "node:net";
import { HpackDecoder } from "../../src/http2/hpack/decoder.js";
import { HpackEncoder, type OutField } from "../../src/http2/hpack/encoder.js";
import { Flag, FrameType, PREFACE } from "../../src/http2/protocol.js";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  id: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(id, 5);
  return Buffer.concat([header, payload]);
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i);
  return bytes;
}

export const setting = (id: number, value: number) => Buffer.concat([Buffer.from([0, id]), uint32(value)]);

/** Returns a gRPC message with its prefix. */
export const grpc = (message: Uint8Array) =>
  Buffer.concat([Buffer.from([0]), uint32(message.length), message]);

export function requestFields(path: string): OutField[] {
  return [
    { name: ":method", value: "POST" },
    { name: ":scheme", value: "http" },
    { name: ":path", value: path, repeats: true },
    { name: ":authority", value: "test", repeats: true },
    { name: "te", value: "trailers" },
    { name: "content-type", value: "application/grpc", repeats: true },
  ];
}

/** A peer that sends arbitrary frames, as a client or as the server's end of a connection. */
export class RawPeer {
  readonly frames: Frame[] = [];
  readonly hpack = new HpackEncoder();
  readonly decoder = new HpackDecoder(
    (fields) => Object.fromEntries((fields ?? []).map((f) => [f.name, f.value])),
    65_536,
  );
  closed = false;
  private rest = Buffer.alloc(0);
  private waiters: (() => void)[] = [];

  /** The first `skip` bytes received are not frames. */
  constructor(
    readonly socket: Socket,
    private skip = 0,
  ) {
    socket.on("data", (chunk: Buffer) => this.take(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
      this.wake();
    });
  }

  static async open(address: string, settings: Uint8Array = Buffer.alloc(0)): Promise<RawPeer> {
    const [host, port] = address.split(":");
    const socket = connect({ host, port: Number(port), noDelay: true });
    const client = new RawPeer(socket);
    await new Promise((resolve) => socket.once("connect", resolve));
    client.write(PREFACE, frame(FrameType.SETTINGS, 0, 0, settings));
    await client.frame((each) => each.type === FrameType.SETTINGS && each.flags === Flag.ACK);
    return client;
  }

  write(...pieces: Uint8Array[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(pieces));
  }

  headers(id: number, fields: readonly OutField[], flags: number = Flag.END_HEADERS): Buffer {
    return frame(FrameType.HEADERS, flags, id, this.hpack.encode(fields));
  }

  /** Sends a complete unary request. */
  request(id: number, path: string, message: Uint8Array): void {
    const data = grpc(message);
    this.write(this.headers(id, requestFields(path)));
    let at = 0;
    for (; data.length - at > 16_384; at += 16_384) {
      this.write(frame(FrameType.DATA, 0, id, data.subarray(at, at + 16_384)));
    }
    this.write(frame(FrameType.DATA, Flag.END_STREAM, id, data.subarray(at)));
  }

  /** Resolves to the first past or future frame that `wanted` accepts. Rejects if the connection ends without it. */
  async frame(wanted: (frame: Frame) => boolean): Promise<Frame> {
    for (let at = 0; ; ) {
      for (; at < this.frames.length; at++) if (wanted(this.frames[at])) return this.frames[at];
      await this.more();
    }
  }

  /** Resolves when more data has come. Rejects if the connection has ended. */
  async more(): Promise<void> {
    if (this.closed) throw new Error("the connection ended");
    await new Promise<void>((resolve) => this.waiters.push(resolve));
  }

  /** Resolves to the code of the server's GOAWAY. */
  async goaway(): Promise<number> {
    const { payload } = await this.frame(({ type }) => type === FrameType.GOAWAY);
    return payload.readUInt32BE(4);
  }

  /** Resolves to the code with which the server resets a stream. */
  async reset(id: number): Promise<number> {
    const { payload } = await this.frame((each) => each.type === FrameType.RST_STREAM && each.id === id);
    return payload.readUInt32BE(0);
  }

  /** Resolves when a ping has been answered, so that all earlier frames have been handled. */
  async ping(): Promise<void> {
    const mark = Buffer.from(String(Math.random()).slice(2, 10).padEnd(8));
    this.write(frame(FrameType.PING, 0, 0, mark));
    await this.frame(({ type, payload }) => type === FrameType.PING && payload.equals(mark));
  }

  /** Resolves when the server has closed the connection. */
  async end(): Promise<void> {
    while (!this.closed) await new Promise<void>((resolve) => this.waiters.push(resolve));
  }

  /** The data of a stream received so far. */
  data(id: number): Buffer {
    return Buffer.concat(
      this.frames
        .filter((each) => each.type === FrameType.DATA && each.id === id)
        .map(({ payload }) => payload),
    );
  }

  private take(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk]);
    const skipped = Math.min(this.skip, this.rest.length);
    this.skip -= skipped;
    this.rest = this.rest.subarray(skipped);
    while (this.rest.length >= 9) {
      const length = this.rest.readUIntBE(0, 3);
      if (this.rest.length < 9 + length) break;
      const [type, flags, id] = [this.rest[3], this.rest[4], this.rest.readUInt32BE(5)];
      this.frames.push({ type, flags, id, payload: this.rest.subarray(9, 9 + length) });
      this.rest = this.rest.subarray(9 + length);
    }
    this.wake();
  }

  private wake(): void {
    for (const waiter of this.waiters.splice(0)) waiter();
  }
}
