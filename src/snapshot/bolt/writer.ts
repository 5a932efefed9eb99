import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import {
  BUCKET_ELEMENT,
  BUCKET_HEADER_BYTES,
  ELEMENT_BYTES,
  Flag,
  PAGE_HEADER_BYTES,
  writeMeta,
} from "./format.js";

/** Pages 0 and 1 are the metas, 2 the list of free pages, which stays empty. */
const FREELIST = 2;
const FIRST = 3;

/**
 * Writes a new bbolt file, one bucket after the other, with full pages. Needs memory for one page per level of the tree.
 */
export class BoltWriter {
  private readonly fd: number;
  private next = FIRST;
  private readonly roots: Entry[] = [];

  /** Creates the file, which must not exist. */
  constructor(
    path: string,
    private readonly pageSize: number,
  ) {
    this.fd = openSync(path, "wx", 0o600);
  }

  /** Writes a bucket. Rows must be in ascending order of their keys, and buckets in ascending order of their latin1 names. */
  bucket(name: string, rows: Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>): void {
    const tree = new Tree(this.pageSize, 0, (page) => this.append(page));
    for (const { key, value } of rows) tree.add(key, value);
    const value = Buffer.alloc(BUCKET_HEADER_BYTES);
    value.writeBigUInt64LE(BigInt(tree.finish()), 0);
    this.roots.push({ key: Buffer.from(name, "latin1"), value });
  }

  /** Completes the file and waits until it is on the disk. */
  finish(): void {
    const { pageSize } = this;
    const tree = new Tree(pageSize, BUCKET_ELEMENT, (page) => this.append(page));
    for (const { key, value } of this.roots) tree.add(key, value);
    const root = tree.finish();
    const freelist = Buffer.alloc(pageSize);
    writeHeader(freelist, FREELIST, Flag.FREELIST, 0, 0);
    this.write(freelist, FREELIST);
    for (const txid of [0, 1]) {
      const page = Buffer.alloc(pageSize);
      writeHeader(page, txid, Flag.META, 0, 0);
      writeMeta({ pageSize, root, pages: this.next, txid }, FREELIST).copy(page, PAGE_HEADER_BYTES);
      this.write(page, txid);
    }
    fsyncSync(this.fd);
    this.close();
  }

  /** Closes the file without completing it. The incomplete file stays. */
  close(): void {
    closeSync(this.fd);
  }

  /** Appends a page, sets its number and returns it. */
  private append(page: Buffer): number {
    const id = this.next;
    this.next += page.length / this.pageSize;
    page.writeBigUInt64LE(BigInt(id), 0);
    this.write(page, id);
    return id;
  }

  private write(page: Buffer, id: number): void {
    let done = 0;
    while (done < page.length) {
      done += writeSync(this.fd, page, done, page.length - done, id * this.pageSize + done);
    }
  }
}

interface Entry {
  readonly key: Uint8Array;
  /** Value of a leaf entry. */
  readonly value: Uint8Array;
  /** Page number of a branch entry's child. */
  readonly child?: number;
}

/** One bucket's B+tree, built from the leaves up: each level holds the page that is being filled. */
class Tree {
  private readonly levels: Level[] = [];

  constructor(
    private readonly pageSize: number,
    private readonly flags: number,
    private readonly append: (page: Buffer) => number,
  ) {}

  add(key: Uint8Array, value: Uint8Array): void {
    this.put(0, { key, value });
  }

  /** Writes the remaining pages and returns the number of the root page. */
  finish(): number {
    if (this.levels.length === 0) return this.append(this.page(0, new Level()));
    for (let level = 0; ; level++) {
      this.flush(level);
      const { only } = this.levels[level]!;
      if (only !== undefined) return only.child!;
    }
  }

  private put(at: number, entry: Entry): void {
    this.levels[at] ??= new Level();
    const level = this.levels[at];
    const size = ELEMENT_BYTES + entry.key.length + entry.value.length;
    if (level.entries.length > 0 && level.size + size > this.pageSize) this.flush(at);
    level.entries.push(entry);
    level.size += size;
  }

  /** Writes the page of a level, and adds it to the level above. A level with a single page has no level above. */
  private flush(at: number): void {
    const level = this.levels[at]!;
    if (level.entries.length === 0) return;
    const { key } = level.entries[0]!;
    const written = { key, value: NOTHING, child: this.append(this.page(at, level)) };
    level.entries = [];
    level.size = PAGE_HEADER_BYTES;
    if (level.pages++ === 0) {
      level.only = written;
      return;
    }
    if (level.only !== undefined) this.put(at + 1, level.only);
    level.only = undefined;
    this.put(at + 1, written);
  }

  private page(at: number, { entries, size }: Level): Buffer {
    const page = Buffer.alloc(Math.ceil(size / this.pageSize) * this.pageSize);
    const overflow = page.length / this.pageSize - 1;
    writeHeader(page, 0, at === 0 ? Flag.LEAF : Flag.BRANCH, entries.length, overflow);
    let element = PAGE_HEADER_BYTES;
    let data = PAGE_HEADER_BYTES + entries.length * ELEMENT_BYTES;
    for (const { key, value, child } of entries) {
      if (child === undefined) {
        page.writeUInt32LE(this.flags, element);
        page.writeUInt32LE(data - element, element + 4);
        page.writeUInt32LE(key.length, element + 8);
        page.writeUInt32LE(value.length, element + 12);
      } else {
        page.writeUInt32LE(data - element, element);
        page.writeUInt32LE(key.length, element + 4);
        page.writeBigUInt64LE(BigInt(child), element + 8);
      }
      page.set(key, data);
      page.set(value, data + key.length);
      data += key.length + value.length;
      element += ELEMENT_BYTES;
    }
    return page;
  }
}

class Level {
  entries: Entry[] = [];
  /** Size of the page so far, in bytes. */
  size = PAGE_HEADER_BYTES;
  /** Number of written pages. */
  pages = 0;
  /** The written page while it is the only one. */
  only: Entry | undefined;
}

const NOTHING = new Uint8Array(0);

function writeHeader(page: Buffer, id: number, flags: number, count: number, overflow: number): void {
  page.writeBigUInt64LE(BigInt(id), 0);
  page.writeUInt16LE(flags, 8);
  page.writeUInt16LE(count, 10);
  page.writeUInt32LE(overflow, 12);
}
