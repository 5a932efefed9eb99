import assert from "node:assert/strict";
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { BoltReader, BrokenFile } from "../../src/snapshot/bolt/reader.js";
import { BoltWriter } from "../../src/snapshot/bolt/writer.js";
import { mainRevision } from "../../src/snapshot/mvcc.js";
import { KeyValue } from "../../src/wire/messages.js";
import { temporaryFolder } from "../support/braid.js";
import { startEtcd } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";

const folder = temporaryFolder();
const PAGE = 4096;

type Rows = { key: Buffer; value: Buffer }[];

function write(name: string, buckets: Record<string, Rows>): string {
  const path = join(folder, name);
  const writer = new BoltWriter(path, PAGE);
  for (const [bucket, rows] of Object.entries(buckets)) writer.bucket(bucket, rows);
  writer.finish();
  return path;
}

function rows(count: number, length: (i: number) => number): Rows {
  return Array.from({ length: count }, (_, i) => {
    const key = Buffer.alloc(8);
    key.writeBigUInt64BE(BigInt(i));
    return { key, value: Buffer.alloc(length(i), i) };
  });
}

test("what is written is read: no rows, one, a page full, many levels, values larger than pages", () => {
  const buckets = {
    empty: [],
    levels: rows(200_000, () => 3),
    one: rows(1, () => 0),
    overflow: rows(50, (i) => i * 1_000),
    page: rows(127, () => 8), // 127 elements of 32 bytes after the header: exactly one page
  };
  const path = write("buckets", buckets);
  const reader = new BoltReader(path);
  assert.deepEqual(reader.buckets, Object.keys(buckets));
  for (const [bucket, expected] of Object.entries(buckets)) {
    let i = 0;
    for (const { key, value } of reader.rows(bucket)) {
      assert.ok(key.equals(expected[i]!.key) && value.equals(expected[i]!.value), `${bucket} ${i}`);
      i++;
    }
    assert.equal(i, expected.length, bucket);
    assert.deepEqual(reader.last(bucket)?.key, expected.at(-1)?.key);
  }
  assert.deepEqual([...reader.rows("missing")], []);
  reader.close();
});

test("what etcd has written is read, and etcd goes on with what is written", async () => {
  const etcd = await startEtcd();
  for (let i = 0; i < 20; i++) await etcdctl(etcd.endpoint, "put", `key${i}`, "x".repeat(i * 700));
  await etcdctl(etcd.endpoint, "del", "key7");
  const before = await etcdctl(etcd.endpoint, "get", "", "--from-key", "-w", "fields");
  await etcd.stop();
  const db = join(etcd.dir, "member", "snap", "db");
  const reader = new BoltReader(db);
  const keys = [...reader.rows("key")];
  assert.equal(keys.length, 21);
  assert.equal(mainRevision(keys[20]!), 22);
  assert.equal(Buffer.from(KeyValue.decode(keys[3]!.value).key).toString(), "key3");
  const copy = join(folder, "copy");
  const writer = new BoltWriter(copy, reader.pageSize);
  for (const bucket of reader.buckets) writer.bucket(bucket, reader.rows(bucket));
  writer.finish();
  reader.close();
  // Checks every page, as bbolt's own check does.
  const { code, stderr } = await etcdctl("", "snapshot", "status", copy);
  assert.equal(code, 0, stderr);
  copyFileSync(copy, db);
  await etcd.restart();
  const masked = (text: string) => text.replace(/"RaftTerm" : \d+/, "");
  const after = await etcdctl(etcd.endpoint, "get", "", "--from-key", "-w", "fields");
  assert.equal(masked(after.stdout), masked(before.stdout));
  for (let i = 0; i < 10; i++) await etcdctl(etcd.endpoint, "put", `more${i}`, "y".repeat(3_000));
  assert.equal((await etcdctl(etcd.endpoint, "defrag")).code, 0);
  const { stdout } = await etcdctl(etcd.endpoint, "get", "more", "--prefix", "--keys-only");
  assert.equal(stdout.match(/more/g)?.length, 10);
  await etcd.remove();
});

test("files that are not whole are refused, never read as something else", () => {
  const path = write("whole", { a: rows(1_000, () => 10), b: rows(3, () => 5_000) });
  const whole = readFileSync(path);
  const read = (file: string) => {
    const reader = new BoltReader(file);
    try {
      for (const bucket of reader.buckets) for (const _ of reader.rows(bucket));
    } finally {
      reader.close();
    }
  };
  read(path);
  const cut = join(folder, "cut");
  for (const length of [0, 10, PAGE, whole.length - PAGE, whole.length - 1]) {
    writeFileSync(cut, whole);
    truncateSync(cut, length);
    assert.throws(() => read(cut), BrokenFile, `${length} bytes`);
  }
  // Whatever else is damaged: an error of ours or other content, but nothing worse.
  for (let page = 0; page < whole.length / PAGE; page++) {
    for (const [offset, byte] of [
      [8, 0xff],
      [10, 0xff],
      [12, 0xff],
      [20, 0xff],
      [25, 0x7f],
    ] as const) {
      const damaged = Buffer.from(whole);
      damaged[page * PAGE + offset] = byte;
      writeFileSync(cut, damaged);
      try {
        read(cut);
      } catch (error) {
        assert.ok(error instanceof BrokenFile, `page ${page}, offset ${offset}: ${error}`);
      }
    }
  }
});
