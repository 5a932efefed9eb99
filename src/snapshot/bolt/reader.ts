import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import {
  BUCKET_ELEMENT,
  BUCKET_HEADER_BYTES,
  ELEMENT_BYTES,
  Flag,
  META_BYTES,
  type Meta,
  PAGE_HEADER_BYTES,
  readMeta,
} from "./format.js";

export interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Deeper than any tree of pages can be. */
const MAX_DEPTH = 32;

/** A damaged backend file. */
export class BrokenFile extends Error {
  override readonly name = "BrokenFile";

  constructor(path: string, what: string) {
    super(`${path} is not a valid etcd backend file: ${what}`);
  }
}

/** Reads the buckets of a bbolt file that is not being written. Throws `BrokenFile`. */
export class BoltReader {
  private readonly fd: number;
  private readonly meta: Meta;
  private readonly roots = new Map<string, Root>();

  constructor(private readonly path: string) {
    this.fd = openSync(path, "r");
    try {
      this.meta = this.findMeta();
      const { size } = fstatSync(this.fd);
      if (size < this.meta.pages * this.meta.pageSize) this.broken("it is cut short");
      for (const { key, value } of this.tree({ page: this.meta.root }, BUCKET_ELEMENT)) {
        this.roots.set(key.toString("latin1"), rootOf(value));
      }
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
  }

  get pageSize(): number {
    return this.meta.pageSize;
  }

  /** Names of the buckets, ascending, as latin1 text. */
  get buckets(): string[] {
    return [...this.roots.keys()];
  }

  /** The rows of a bucket in ascending order; none if there is no such bucket. */
  *rows(bucket: string): Generator<Row> {
    const root = this.roots.get(bucket);
    if (root !== undefined) yield* this.tree(root, 0);
  }

  /** The value of one key; undefined if it does not exist. Reads the whole bucket, so use it for small ones. */
  get(bucket: string, key: string): Buffer | undefined {
    for (const row of this.rows(bucket)) if (row.key.toString("latin1") === key) return row.value;
    return undefined;
  }

  /** The last row of a bucket; undefined if it is empty. */
  last(bucket: string): Row | undefined {
    const root = this.roots.get(bucket);
    if (root === undefined) return undefined;
    let page = this.load(root);
    for (let depth = 0; isBranch(page); depth++) {
      if (depth > MAX_DEPTH) this.broken("its pages form a loop");
      page = this.load({ page: this.childOf(page, page.readUInt16LE(10) - 1) });
    }
    const count = page.readUInt16LE(10);
    return count === 0 ? undefined : this.elementOf(page, count - 1, 0);
  }

  close(): void {
    closeSync(this.fd);
  }

  private findMeta(): Meta {
    const first = readMeta(this.read(PAGE_HEADER_BYTES, META_BYTES));
    if (first === undefined) return this.broken("its first page is damaged");
    // The newer of the two counts, if it is not damaged.
    const second = readMeta(this.read(first.pageSize + PAGE_HEADER_BYTES, META_BYTES));
    return second !== undefined && second.txid > first.txid ? second : first;
  }

  private *tree(root: Root, flags: number, depth = 0): Generator<Row> {
    if (depth > MAX_DEPTH) this.broken("its pages form a loop");
    const page = this.load(root);
    const count = page.readUInt16LE(10);
    if (isBranch(page)) {
      for (let i = 0; i < count; i++) yield* this.tree({ page: this.childOf(page, i) }, flags, depth + 1);
      return;
    }
    for (let i = 0; i < count; i++) yield this.elementOf(page, i, flags);
  }

  private childOf(branch: Buffer, index: number): number {
    const at = PAGE_HEADER_BYTES + index * ELEMENT_BYTES;
    if (index < 0 || at + ELEMENT_BYTES > branch.length) return this.broken("a page is damaged");
    return Number(branch.readBigUInt64LE(at + 8));
  }

  private elementOf(leaf: Buffer, index: number, flags: number): Row {
    const at = PAGE_HEADER_BYTES + index * ELEMENT_BYTES;
    if (at + ELEMENT_BYTES > leaf.length) return this.broken("a page is damaged");
    if (leaf.readUInt32LE(at) !== flags) this.broken("it has buckets where etcd has none");
    const begin = at + leaf.readUInt32LE(at + 4);
    const middle = begin + leaf.readUInt32LE(at + 8);
    const end = middle + leaf.readUInt32LE(at + 12);
    if (end > leaf.length) this.broken("a page is damaged");
    return { key: leaf.subarray(begin, middle), value: leaf.subarray(middle, end) };
  }

  /** A branch or leaf page with its overflow pages. */
  private load(root: Root): Buffer {
    if ("inline" in root) return this.checked(root.inline);
    const { pageSize, pages } = this.meta;
    if (root.page < 2 || root.page >= pages) this.broken(`it has no page ${root.page}`);
    const first = this.read(root.page * pageSize, pageSize);
    const overflow = first.readUInt32LE(12);
    if (overflow === 0) return this.checked(first);
    if (root.page + overflow >= pages) this.broken("a page is damaged");
    return this.checked(this.read(root.page * pageSize, (overflow + 1) * pageSize));
  }

  private checked(page: Buffer): Buffer {
    const flags = page.length >= PAGE_HEADER_BYTES ? page.readUInt16LE(8) : 0;
    if (flags !== Flag.BRANCH && flags !== Flag.LEAF) this.broken("a page is neither branch nor leaf");
    return page;
  }

  private read(position: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    let done = 0;
    while (done < length) {
      const read = readSync(this.fd, bytes, done, length - done, position + done);
      if (read === 0) this.broken("it is cut short");
      done += read;
    }
    return bytes;
  }

  private broken(what: string): never {
    throw new BrokenFile(this.path, what);
  }
}

/** The root of a bucket's tree: the number of a page, or its only page itself. */
type Root = { readonly page: number } | { readonly inline: Buffer };

function rootOf(header: Buffer): Root {
  const page = header.length >= BUCKET_HEADER_BYTES ? Number(header.readBigUInt64LE(0)) : 0;
  return page > 0 ? { page } : { inline: header.subarray(BUCKET_HEADER_BYTES) };
}

const isBranch = (page: Buffer): boolean => page.readUInt16LE(8) === Flag.BRANCH;
