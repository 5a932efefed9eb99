import { Endings } from "../../src/lease/endings.js";
import { Parts } from "../../src/lease/parts.js";
import { Reaper } from "../../src/lease/reaper.js";
import { RenewalStream } from "../../src/lease/renewalStream.js";
import { Renewing } from "../../src/lease/renewing.js";
import { guardShard } from "../../src/shard/guard.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { Feed } from "../../src/watch/feed.js";
import { Merger } from "../../src/watch/merger.js";
import { Replays } from "../../src/watch/replay.js";
import { Sealer } from "../../src/watch/sealer.js";
import { Watcher } from "../../src/watch/watcher.js";
import { WatchLoop } from "../../src/watch/watchLoop.js";
import type { Scenario } from "./world.js";

/** Breaks one rule. Returns a function that restores it. */
export type Mutation = () => () => void;

// biome-ignore lint/suspicious/noExplicitAny: a mutation reaches into any object
type Any = any;
type Method = (...args: Any[]) => Any;

/** Replaces a method. The replacement gets the original method, `this` and the arguments. */
function patch(target: Any, name: string, replace: (original: Method, self: Any, ...args: Any[]) => Any) {
  return () => {
    const original: Method = target[name];
    if (original === undefined) throw new Error(`no method ${name}`);
    target[name] = function (this: Any, ...args: Any[]) {
      return replace(original.bind(this), this, ...args);
    };
    return () => {
      target[name] = original;
    };
  };
}

const nothing = () => {};

const GUARD = Object.getPrototypeOf(
  guardShard(
    { index: 0, name: "", onDisconnect: nothing } as unknown as Parameters<typeof guardShard>[0],
    () => 0,
    () => undefined,
    systemRuntime,
  ),
);

const QUIET = { cut: 0, lag: 0, mute: 0, slow: 0 };
const CALM = { faults: QUIET, hostFaults: { loss: 0, cut: 0, lag: 0 }, crash: 0, pause: 0, freeze: 0 };
/** No faults, except that parts of leases are revoked past the proxies. */
const STRUCK = { ...CALM, shards: 3, host: -1, holders: 5, strike: 0.1 };

/** Each breaks one rule of watches, leases or guards, in a world where the rule matters. Some seed must notice it. */
export const MUTATIONS: readonly (readonly [name: string, mutation: Mutation, where?: Partial<Scenario>])[] =
  [
    [
      "a watch of a shard is reopened one revision late",
      patch(Feed.prototype, "open", (open, feed) => {
        if (feed.openedAt > 0) {
          feed.reached++;
          feed.seen = feed.reached;
        }
        open();
      }),
    ],
    [
      "a fragment counts as a whole revision",
      patch(Feed.prototype, "reach", (reach, feed, revision) => reach(Math.max(revision, feed.seen))),
    ],
    [
      "the events of an incomplete revision stay",
      patch(Feed.prototype, "forgetIncomplete", nothing),
      { faults: { ...QUIET, cut: 0.02 }, holders: 8, strike: 0.1 },
    ],
    [
      "a silent watch is not reopened",
      patch(Feed.prototype, "reopen", (reopen, feed) => {
        if (feed.silence === 0) reopen();
      }),
      { faults: { ...QUIET, mute: 0.05 } },
    ],
    [
      "revisions are delivered without the shard that owes one",
      patch(Merger.prototype, "nextAhead", (nextAhead, merger) => {
        merger.owing.clear();
        return nextAhead();
      }),
    ],
    [
      "a replay hands its watchers over one revision late",
      patch(Replays.prototype, "start", (start, replays, name) => {
        start(name);
        for (const replay of replays.sets.get(name)?.running ?? []) {
          if (Object.hasOwn(replay, "release")) continue;
          const { release } = Object.getPrototypeOf(replay);
          replay.release = (watcher: Watcher) => {
            watcher.next++;
            release.call(replay, watcher);
          };
        }
      }),
    ],
    [
      "a watcher with a slow client continues one revision late",
      patch(Watcher.prototype, "sendShared", (sendShared, watcher, ...args) => {
        const sent = sendShared(...args);
        if (!sent) watcher.next++;
        return sent;
      }),
    ],
    [
      "watches get events from before a pruning",
      () => {
        const original = Object.getOwnPropertyDescriptor(SharedTimeline.prototype, "prunedAt")!;
        Object.defineProperty(SharedTimeline.prototype, "prunedAt", { ...original, get: () => 0 });
        return () => Object.defineProperty(SharedTimeline.prototype, "prunedAt", original);
      },
    ],
    [
      "watchers are not ended when revisions that they need are compacted",
      patch(WatchLoop.prototype, "dropBelow", nothing),
      { faults: { ...QUIET, cut: 0.02 }, compact: 0.5 },
    ],
    ["revisions that no writer has sealed stay unsealed", patch(Sealer.prototype, "sighted", nothing)],
    [
      "a keep-alive goes only to the home",
      patch(Renewing.prototype, "renewParts", (renew, renewing, ...args) => {
        const { parts } = renewing;
        renewing.parts = Object.create(parts, {
          shardsOf: { value: (lease: bigint) => parts.shardsOf(lease).slice(0, 1) },
        });
        renew(...args);
        renewing.parts = parts;
      }),
    ],
    [
      "a silent keep-alive stream is not replaced",
      patch(RenewalStream.prototype, "lost", (lost, _, error) => {
        if (!/silent/.test(error.message)) lost(error);
      }),
      { faults: { ...QUIET, mute: 0.1 }, holders: 5 },
    ],
    [
      "an ending forgets one part",
      patch(Endings.prototype, "extend", (extend, _, lease, ending, shards) =>
        extend(lease, ending, shards.slice(0, -1)),
      ),
      { ...CALM, holders: 5 },
    ],
    [
      "an ending stops at the home",
      patch(Endings.prototype, "close", (close, ending, lease) => {
        ending.endings.get(lease).complete = true;
        return close(lease);
      }),
      { ...CALM, holders: 5 },
    ],
    ["no proxy checks for lost parts", patch(Reaper.prototype, "wake", nothing)],
    [
      "the reaper forgets one shard",
      patch(Reaper.prototype, "wake", (wake, reaper) => {
        const { sweeps } = reaper;
        reaper.sweeps = { all: () => sweeps.all().slice(1) };
        wake();
        reaper.sweeps = sweeps;
      }),
      STRUCK,
    ],
    [
      "a missing part is always lost",
      patch(Parts.prototype, "mayLackGrant", () => false),
      { ...STRUCK, strike: 0, proxies: 3, faults: { ...QUIET, slow: 0.3 } },
    ],
    ["a missing part was never granted", patch(Parts.prototype, "mayLackGrant", () => true), STRUCK],
    ["a shard is not probed after its connection was lost", patch(GUARD, "suspectAgain", nothing)],
    ["a shard's revision is not compared", patch(GUARD, "checkRevision", nothing)],
    ["a shard may be any cluster", patch(GUARD, "checkCluster", nothing)],
    ["open streams do not cause a probe", patch(GUARD, "probeForStreams", nothing)],
  ];
