/*
 * The file format of bbolt, in which etcd keeps its data: pages of one size, numbered from the start of the file. Pages 0
 * and 1 are "meta" pages with the page number of the root bucket. A bucket is a B+tree: leaf pages hold keys and values in
 * ascending order, branch pages hold the first key of each child page. The root bucket's values are bucket headers (root
 * page, sequence). A small bucket's only page may follow its header directly. All numbers are little-endian.
 */

export const PAGE_HEADER_BYTES = 16;
export const ELEMENT_BYTES = 16;
export const BUCKET_HEADER_BYTES = 16;
export const META_BYTES = 64;

export const Flag = { BRANCH: 0x01, LEAF: 0x02, META: 0x04, FREELIST: 0x10 } as const;
/** Flag of a leaf element: its value is a bucket header. */
export const BUCKET_ELEMENT = 1;

const MAGIC = 0xed0cdaed;
const VERSION = 2;

export interface Meta {
  readonly pageSize: number;
  /** Page of the root bucket. */
  readonly root: number;
  /** Pages in the file. */
  readonly pages: number;
  readonly txid: number;
}

/** Reads a meta. `bytes` begin after the page header. Returns undefined if the meta is damaged. */
export function readMeta(bytes: Buffer): Meta | undefined {
  if (bytes.length < META_BYTES || bytes.readUInt32LE(0) !== MAGIC || bytes.readUInt32LE(4) !== VERSION) {
    return undefined;
  }
  if (bytes.readBigUInt64LE(56) !== fnv1a(bytes.subarray(0, 56))) return undefined;
  return {
    pageSize: bytes.readUInt32LE(8),
    root: Number(bytes.readBigUInt64LE(16)),
    pages: Number(bytes.readBigUInt64LE(40)),
    txid: Number(bytes.readBigUInt64LE(48)),
  };
}

/** Encodes a meta, without the page header. `freelist` is the page with the list of free pages. */
export function writeMeta({ pageSize, root, pages, txid }: Meta, freelist: number): Buffer {
  const bytes = Buffer.alloc(META_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  bytes.writeUInt32LE(pageSize, 8);
  bytes.writeBigUInt64LE(BigInt(root), 16);
  bytes.writeBigUInt64LE(BigInt(freelist), 32);
  bytes.writeBigUInt64LE(BigInt(pages), 40);
  bytes.writeBigUInt64LE(BigInt(txid), 48);
  bytes.writeBigUInt64LE(fnv1a(bytes.subarray(0, 56)), 56);
  return bytes;
}

function fnv1a(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn;
  return hash;
}
