import { type Read, Reader } from "./reader.js";
import { type Write, writer } from "./writer.js";

/** A message to be encoded: any field may be left out or undefined, at any depth, and then has its zero value. */
export type Init<T> = T extends Uint8Array | bigint | number | string | boolean | undefined
  ? T
  : T extends readonly (infer E)[]
    ? readonly Init<E>[]
    : { readonly [K in keyof T]?: Init<T[K]> | undefined };

/** Bytes of a message type to objects and back. */
export interface Codec<T> {
  /**
   * The message in `bytes`. Byte fields are views of `bytes`, not copies. Fields that this version does not know
   * are kept, in their order, and written again after the known ones.
   * Throws `StatusError` INVALID_ARGUMENT when `bytes` are not such a message.
   */
  decode(bytes: Uint8Array): T;
  /** The bytes of `message`, which nothing changes afterwards. Numbers beyond int64 are clamped to it. */
  encode(message: Init<T>): Uint8Array;
}

/** How a message type is read and written as a field of another one. */
export interface Nested<T> {
  readonly read: Read<T>;
  readonly write: Write<Init<T>>;
}

/** A message type that is used both by itself and as a field. */
export interface MessageCodec<T> extends Codec<T>, Nested<T> {}

export function codec<T>(read: Read<T>, write: Write<Init<T>>): MessageCodec<T> {
  return {
    read,
    write,
    decode: (bytes) => read(new Reader(bytes)),
    encode: (message) => writer.encode(write, message),
  };
}
