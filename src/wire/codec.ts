import { type Read, Reader } from "./reader.js";
import { type Write, writer } from "./writer.js";

/** Input of an encoder. Any field may be absent or undefined, at any depth, and then has its zero value. */
export type Init<T> = T extends Uint8Array | bigint | number | string | boolean | undefined
  ? T
  : T extends readonly (infer E)[]
    ? readonly Init<E>[]
    : { readonly [K in keyof T]?: Init<T[K]> | undefined };

/** Decoder and encoder of a message type. */
export interface Codec<T> {
  /**
   * Decodes a message. Byte fields are views of `bytes`, not copies. Unknown fields are kept in their order, and encoded
   * after the known ones. Throws INVALID_ARGUMENT when `bytes` are not such a message.
   */
  decode(bytes: Uint8Array): T;
  /** Encodes a message. The result is never modified afterwards. Numbers beyond int64 are clamped. */
  encode(message: Init<T>): Uint8Array;
}

/** Reads and writes a message type as a field of another message. */
export interface Nested<T> {
  readonly read: Read<T>;
  readonly write: Write<Init<T>>;
}

/** Codec of a message type that is also a field of other messages. */
export interface MessageCodec<T> extends Codec<T>, Nested<T> {}

/** Makes the codec of a message type from the functions that read and write its fields. */
export function codec<T>(read: Read<T>, write: Write<Init<T>>): MessageCodec<T> {
  return {
    read,
    write,
    decode: (bytes) => read(new Reader(bytes)),
    encode: (message) => writer.encode(write, message),
  };
}
