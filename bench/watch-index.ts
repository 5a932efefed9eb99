import { textRange } from "../src/watch/keys.js";
import { RangeIndex } from "../src/watch/rangeIndex.js";

/*
 * Nanoseconds of CPU time per operation of the watch index, by number of watchers: `node --import tsx bench/watch-index.ts`. A
 * third of them watch a single key each, a third a directory of ten keys each, and a third share 100 larger directories. "all
 * ranges" is the time to compare an event's key with every watcher's range.
 */

const SIZES = [100, 1_000, 10_000, 100_000];
const LOOKUPS = 200_000;

const name = (n: number): string => `/registry/pods/ns${Math.floor(n / 1_000)}/${String(n).padStart(7, "0")}`;
const end = (prefix: string): Buffer => {
  const bytes = Buffer.from(prefix);
  bytes[bytes.length - 1]++;
  return bytes;
};

function rangeOf(n: number) {
  const key = name(n);
  const none = new Uint8Array(0);
  if (n % 3 === 0) return textRange(Buffer.from(key), none);
  const prefix = n % 3 === 1 ? key.slice(0, -1) : `/registry/pods/ns${n % 100}/`;
  return textRange(Buffer.from(prefix), end(prefix));
}

function nanoseconds(count: number, work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1_000) / count;
}

const row = (...cells: (string | number)[]) =>
  console.log(cells.map((cell) => String(cell).padStart(12)).join(""));

row("watchers", "add", "find", "hits", "remove", "all ranges");
for (const size of SIZES) {
  const ranges = Array.from({ length: size }, (_, n) => rangeOf(n));
  const index = new RangeIndex<Set<number>>(Math.random);
  const add = nanoseconds(size, () => {
    for (const [n, range] of ranges.entries()) {
      const members = index.get(range);
      if (members === undefined) index.set(range, new Set([n]));
      else members.add(n);
    }
  });
  let hits = 0;
  const keys = Array.from({ length: 1_000 }, (_, i) => name((i * 7_919) % size));
  const find = nanoseconds(LOOKUPS, () => {
    for (let i = 0; i < LOOKUPS; i++) {
      index.find(keys[i % 1_000], (members) => {
        hits += members.size;
      });
    }
  });
  const scans = Math.max(10, Math.floor(1e7 / size));
  let matched = 0;
  const scan = nanoseconds(scans, () => {
    for (let i = 0; i < scans; i++) {
      const key = keys[i % 1_000];
      for (const { begin, end } of ranges) if (begin <= key && key < end) matched++;
    }
  });
  if (matched === 0) throw new Error("the scan found nothing");
  const remove = nanoseconds(size, () => {
    for (const [n, range] of ranges.entries()) {
      const members = index.get(range)!;
      members.delete(n);
      if (members.size === 0) index.delete(range);
    }
  });
  row(size, ...[add, find].map(Math.round), (hits / LOOKUPS).toFixed(1), ...[remove, scan].map(Math.round));
}
