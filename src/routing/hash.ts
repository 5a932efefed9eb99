import xxhash from "xxhash-wasm";

/** xxh64 with seed 0. */
export class Hasher {
  /** Halves of the hash of the latest `update`, as int32. A bigint for each key would cost more than the hash. */
  high = 0;
  low = 0;
  private readonly word = new BigUint64Array(1);
  private readonly halves = new Int32Array(this.word.buffer);
  private readonly lowAt = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 0 : 1;
  private readonly h64: (bytes: Uint8Array) => bigint;

  private constructor(h64: (bytes: Uint8Array) => bigint) {
    this.h64 = h64;
  }

  /** Loads the WebAssembly module. */
  static async load(): Promise<Hasher> {
    const { h64Raw } = await xxhash();
    return new Hasher(h64Raw);
  }

  /** Returns the hash as an unsigned 64-bit number. */
  hash(bytes: Uint8Array): bigint {
    return this.h64(bytes);
  }

  /** Hashes `bytes` and leaves the result in `high` and `low`. */
  update(bytes: Uint8Array): void {
    this.word[0] = this.h64(bytes);
    // In range: `lowAt` is 0 or 1.
    this.low = this.halves[this.lowAt]!;
    this.high = this.halves[1 - this.lowAt]!;
  }
}
