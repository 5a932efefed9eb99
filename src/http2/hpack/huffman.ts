// Indices below are in range by construction; `!` keeps the hot loops free of checks.

import { ConnectionError, ErrorCode } from "../protocol.js";

/**
 * Code lengths in bits of the 256 bytes and the EOS symbol (RFC 7541, appendix B). The code is canonical: codes
 * count up in order of length, then of symbol, so the lengths define it.
 */
// biome-ignore format: a table
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28,
  28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6,
  7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6,
  5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
  23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22,
  22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25,
  26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21,
  21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
/** The EOS symbol. */
const EOS = 256;

/*
 * The decoder walks the code tree four bits at a time. A state is an inner node of the tree. A step is packed as
 * next state << 11 | emits << 10 | accepted << 9 | fails << 8 | symbol. No code has fewer than 5 bits, so a step
 * emits at most one byte.
 */
const EMITS = 1 << 10;
const ACCEPTED = 1 << 9;
const FAILS = 1 << 8;
const STEPS = buildSteps();

function buildSteps(): Uint32Array {
  // children[2 * node + bit] is an inner node (>= 0), or a symbol as -1 - symbol.
  const children: number[] = [0, 0];
  const symbols = LENGTHS.map((_, symbol) => symbol).sort((a, b) => LENGTHS[a]! - LENGTHS[b]! || a - b);
  let code = 0;
  let length = 0;
  for (const symbol of symbols) {
    code *= 2 ** (LENGTHS[symbol]! - length);
    length = LENGTHS[symbol]!;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const at = 2 * node + ((code >>> bit) & 1);
      if (children[at] === 0) {
        children[at] = children.length / 2;
        children.push(0, 0);
      }
      node = children[at]!;
    }
    children[2 * node + (code & 1)] = -1 - symbol;
    code++;
  }
  // Padding is a prefix of EOS (all ones) of fewer than 8 bits, so decoding may end in these states.
  const accepted = new Set<number>();
  for (let node = 0, depth = 0; depth < 8; depth++, node = children[2 * node + 1]!) accepted.add(node);
  const table = new Uint32Array((children.length / 2) * 16);
  for (let state = 0; state < children.length / 2; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let step = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = children[2 * node + ((nibble >> bit) & 1)]!;
        if (next >= 0) {
          node = next;
        } else {
          const symbol = -1 - next;
          step |= symbol === EOS ? FAILS : EMITS | symbol;
          node = 0;
        }
      }
      table[state * 16 + nibble] = step | (node << 11) | (accepted.has(node) ? ACCEPTED : 0);
    }
  }
  return table;
}

let scratch = Buffer.allocUnsafeSlow(4096);

/** Decodes `bytes[start, end)` to a string of bytes (latin1). Throws a COMPRESSION_ERROR for malformed input. */
export function huffmanDecode(bytes: Uint8Array, start: number, end: number): string {
  const most = Math.floor(((end - start) * 8) / 5);
  if (scratch.length < most) scratch = Buffer.allocUnsafeSlow(most);
  let length = 0;
  let state = 0;
  let accepted = ACCEPTED;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    let step = STEPS[(state << 4) | (byte >> 4)]!;
    if (step & EMITS) scratch[length++] = step & 0xff;
    const failed = step & FAILS;
    step = STEPS[((step >> 11) << 4) | (byte & 15)]!;
    if (step & EMITS) scratch[length++] = step & 0xff;
    if (failed | (step & FAILS)) throw invalid();
    state = step >> 11;
    accepted = step & ACCEPTED;
  }
  if (accepted === 0) throw invalid();
  return scratch.toString("latin1", 0, length);
}

function invalid(): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, "malformed Huffman code");
}
