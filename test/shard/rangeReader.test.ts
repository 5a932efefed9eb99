import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bound, compareBounds, START } from "../../src/reshard/bound.js";
import { compareBytes } from "../../src/routing/bytes.js";
import { RangeReader } from "../../src/shard/rangeReader.js";
import type { KeyValue } from "../../src/wire/messages.js";

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const PAGE = 100;

let state = SEED;
function random(below: number): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
  return Math.floor((state / 2 ** 31) * below);
}

const randomBytes = (length: number): Buffer => Buffer.from(Array.from({ length }, () => 1 + random(255)));

/** Reads all keys of the range. Counts the requests, and the keys in their ranges, which etcd visits. */
async function readAll(keys: readonly Uint8Array[], from: Uint8Array, to: Bound) {
  let requests = 0;
  let visited = 0;
  const read = async (range: { from: Uint8Array; to: Bound }) => {
    assert.ok(compareBounds(range.from, range.to) < 0, "a range is not empty");
    const found = keys.filter(
      (key) => compareBounds(key, range.from) >= 0 && compareBounds(key, range.to) < 0,
    );
    requests++;
    visited += found.length;
    const kvs = found.slice(0, PAGE).map((key) => ({ key }) as KeyValue);
    return { kvs, more: found.length > PAGE };
  };
  const reader = new RangeReader(read, PAGE);
  const all: Uint8Array[] = [];
  for await (const kvs of reader.pages(from, to)) all.push(...kvs.map(({ key }) => key));
  return { all, requests, visited };
}

const SHAPES: readonly [name: string, key: (n: number) => Buffer][] = [
  ["numbers", (n) => Buffer.from(`/registry/pods/${String(n).padStart(7, "0")}`)],
  ["numbers of different lengths", (n) => Buffer.from(`/k/${n}`)],
  ["many prefixes with long gaps", (n) => Buffer.from(`/${"abcxyz"[n % 6]}${n % 7}/long/tail/of/a/key/${n}`)],
  ["random bytes", () => randomBytes(1 + random(12))],
  ["keys that end in 0xff", (n) => Buffer.concat([Buffer.alloc(n % 5, 0xff), randomBytes(3)])],
];

for (const [name, make] of SHAPES) {
  test(`a long range is read whole and once, and few keys are visited often: ${name} (SEED=${SEED})`, async () => {
    const named = new Map(
      Array.from({ length: 20_000 }, (_, n) => make(n)).map((key) => [key.toString("hex"), key]),
    );
    const keys = [...named.values()].sort(compareBytes);
    const { all, requests, visited } = await readAll(keys, START, null);
    assert.deepEqual(all, keys);
    // Requests for all that is left would visit 100 times as many.
    assert.ok(visited < 40 * keys.length, `${visited} keys were visited for ${keys.length}`);
    assert.ok(requests < 8 * (keys.length / PAGE), `${requests} requests for ${keys.length} keys`);
    const [from, to] = [keys[random(keys.length)]!, keys[random(keys.length)]!].sort(compareBytes);
    const part = keys.filter((key) => compareBytes(key, from!) >= 0 && compareBytes(key, to!) < 0);
    if (part.length > 0) assert.deepEqual((await readAll(keys, from!, to!)).all, part);
  });
}
