import { createIdentity } from "../src/services/identity.js";
import { Fanout } from "../src/watch/fanout.js";
import { keyText, textRange } from "../src/watch/keys.js";
import { type Outlet, Watcher } from "../src/watch/watcher.js";
import { WatchResponse } from "../src/wire/messages.js";
import { decodeWatch, encodeEvent } from "../src/wire/watch.js";

/*
 * The cost of a proxy's fan-out per delivered event, without transports: `node --import tsx bench/watch.ts`. Nanoseconds of CPU
 * time to find the watchers and to make their frames; the best of several rounds.
 */

const ROUNDS = 7;
const WATCHERS = 1_000;
const EVENTS = 500;

const key = Buffer.from("/watched7/key");
const value = Buffer.alloc(256);
const identity = createIdentity({ clusterId: 2n ** 63n, memberId: 2n ** 62n, timeline: { raftTerm: 4 } });

/** Keeps results alive, so that nothing is optimized away. */
let sent = 0;
const outlet: Outlet = {
  blocked: false,
  send: (parts) => {
    sent += parts.length;
  },
  header: (revision) => identity.header(revision),
  compacted: () => {},
};

for (const perBatch of [1, 10]) {
  for (const [what, idOf] of [
    ["a separate id each", (i: number) => i],
    ["on its own stream each", () => 0],
  ] as const) {
    const fanout = new Fanout(Math.random);
    for (let i = 0; i < WATCHERS; i++) {
      const range = textRange(Buffer.from("/watched"), Buffer.from("/watchee"));
      const options = { prevKv: false, fragment: false, noPut: false, noDelete: false };
      const watcher = new Watcher(outlet, { id: idOf(i), range, next: 1, ...options });
      watcher.state = "synced";
      fanout.add(watcher);
    }
    const time = best(fanout, perBatch) / (EVENTS * WATCHERS);
    console.log(
      `${`${WATCHERS} watchers, ${what}, ${perBatch} events at a time`.padEnd(70)} ${(time * 1000).toFixed(0).padStart(6)} ns`,
    );
  }
}
process.exitCode = sent > 0 ? 0 : 1;

/** Microseconds for all events. */
function best(fanout: Fanout, perBatch: number): number {
  let revision = 1;
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const started = process.cpuUsage();
    for (let i = 0; i < EVENTS; i += perBatch) {
      for (let j = 0; j < perBatch; j++) {
        revision++;
        const kv = { key, value, createRevision: 2, modRevision: revision, version: revision };
        const [raw] = decodeWatch(WatchResponse.encode({ events: [{ type: 0, kv }] })).events;
        fanout.offer(revision, [{ key: keyText(key), event: encodeEvent(raw, (r) => r) }]);
      }
      fanout.flush(revision);
    }
    const { user, system } = process.cpuUsage(started);
    least = Math.min(least, user + system);
  }
  return least;
}
