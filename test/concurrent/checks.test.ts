import assert from "node:assert/strict";
import { test } from "node:test";
import { check } from "./check.js";
import type { Answer, Compare, Op, Range, Step } from "./history.js";
import { type Draft, type DraftCall, HEADER, Sim } from "./sim.js";

/* Every check is fed a history that a correct store brought about, and then one in which something is wrong. */

const A = "/a/k0";
const B = "/a/k1";
const C = "/b/k0";
const WHOLE = { key: "\0", end: "\0" };
const LEASE = "77";

const put = (key: string, value: string, lease = "0"): Step => ({ kind: "put", key, value, lease });
const get = (key: string, end = ""): Range => ({
  kind: "range",
  key,
  end,
  revision: 0,
  limit: 0,
  serializable: false,
});
const remove = (key: string): Step => ({ kind: "delete", key, end: "" });
const txn = (compares: Compare[], success: Step[], failure: Step[]): Op => ({
  kind: "txn",
  compares,
  success,
  failure,
});
const modIs = (key: string, operand: number): Compare => ({ key, target: "mod", result: "EQUAL", operand });

/** Two keys on one shard and one on another; calls by what they are in `CALL`. */
function good(): Draft {
  const sim = new Sim({ [A]: 0, [B]: 0, [C]: 1 });
  sim.answered(put(A, "a1")); // 2
  sim.answered(put(C, "c1")); // 3
  sim.answered(get(A));
  sim.answered(get(C));
  sim.answered(get(WHOLE.key, WHOLE.end));
  sim.answered(txn([modIs(A, 2)], [put(A, "a2"), put(B, "b1")], [get(A)])); // 4
  sim.answered(txn([modIs(A, 2)], [put(A, "a3")], [get(A)]));
  sim.unknown(put(C, "c2"), true); // 5
  sim.unknown(put(C, "c3"), false);
  sim.unknown(remove(B), true); // 6
  sim.refused(put(A, "a4"), 5, "etcdserver: requested lease not found");
  sim.old(WHOLE, 3);
  sim.answered({ kind: "grant", id: LEASE, ttl: 2 });
  sim.answered(put(B, "b2", LEASE)); // 7
  sim.wait(4_000);
  sim.leaseEnds(LEASE); // 8
  sim.answered(remove(C)); // 9
  sim.answered(get(WHOLE.key, WHOLE.end));
  const group = { key: "/a/", end: "/a0" };
  return sim.history({
    group: { ...group, prevKv: false, from: 4 },
    key: { key: C, end: "", prevKv: true, from: 0 },
  });
}

const CALL = {
  putA: 0,
  putC: 1,
  getA: 2,
  getC: 3,
  scan: 4,
  swap: 5,
  noSwap: 6,
  lostPut: 7,
  lostNoPut: 8,
  refused: 10,
  old: 11,
  grant: 12,
  removeC: 14,
  lastScan: 15,
} as const;

function answer<K extends Answer["kind"]>(call: DraftCall, kind: K) {
  assert.ok(call.outcome.kind === "answered" && call.outcome.answer.kind === kind);
  return call.outcome.answer as Extract<typeof call.outcome.answer, { kind: K }>;
}

function setRevision(call: DraftCall, revision: number): void {
  assert.ok(call.outcome.kind === "answered");
  call.outcome.revision = revision;
}

const session = (history: Draft, watcher: string) =>
  history.sessions.find((candidate) => candidate.watcher === watcher)!;

/** Replaces one call by another operation with another outcome. */
function replace(history: Draft, index: number, op: Op, outcome: DraftCall["outcome"]): void {
  Object.assign(history.calls[index], { op, outcome });
}

test("a correct history has no faults", () => {
  assert.deepEqual(check(good()), []);
});

/** What is wrong → how to make it so, and the fault that has to be found. */
const BROKEN: Readonly<Record<string, readonly [(history: Draft) => void, RegExp]>> = {
  "a revision without event": [(h) => session(h, "truth").frames.splice(3, 1), /revision 4 has no event/],
  "an event beyond the newest revision": [(h) => h.head--, /an event has revision 9/],
  "an event with a wrong version": [
    (h) => {
      session(h, "truth").frames[3].events[0].kv.version = 7;
    },
    /should be/,
  ],
  "an event with a wrong create_revision": [
    (h) => {
      session(h, "truth").frames[3].events[0].kv.create = 4;
    },
    /should be/,
  ],
  "a prev_kv of an older change": [
    (h) => {
      session(h, "truth").frames[3].events[0].prev!.value = "older";
    },
    /should be/,
  ],
  "a deletion of what is not there": [
    (h) => {
      const [event] = session(h, "truth").frames[8].events;
      event.kv.key = B;
      event.prev = null;
    },
    /had nothing to delete/,
  ],
  "a revision with changes on two shards": [
    (h) => {
      const { frames } = session(h, "truth");
      const [moved] = frames.splice(2, 1);
      for (const { kv } of moved.events) kv.mod = 2;
      frames[1].events.push(...moved.events);
    },
    /revision 2 has changed shards/,
  ],
  "a change that only the shard knows": [
    (h) => h.native[1].push([{ type: "put", key: C, value: "x", lease: "0" }]),
    /shard 1 has made 4 changes, the timeline has 3/,
  ],
  "another order than the shard's": [(h) => h.native[0].reverse(), /shard 0: its .* change from the end/],
  "an answered write that is nowhere": [
    (h) => replace(h, CALL.lostNoPut, put(C, "c3"), written(10)),
    /header revision 10, but the store ends at 9/,
  ],
  "two writes with one revision": [
    (h) => replace(h, CALL.lostNoPut, put(C, "c3"), written(5)),
    /not this write|two writes/,
  ],
  "a write answered with another one's revision": [
    (h) => setRevision(h.calls[CALL.putA], 3),
    /two writes with one revision/,
  ],
  "a write that nobody sent": [
    (h) => {
      h.calls[CALL.lostPut].op = put(C, "another");
    },
    /nobody's write: revision 5/,
  ],
  "a write that was refused and took effect": [
    (h) => {
      h.calls[CALL.lostPut].outcome = {
        kind: "refused",
        code: 5,
        message: "etcdserver: requested lease not found",
      };
    },
    /nobody's write: revision 5/,
  ],
  "a write that took effect twice": [
    (h) => {
      // The put of revision 3 has the value of the one at 5, which nobody answered.
      h.calls.splice(CALL.putC, 1);
      for (const { frames } of h.sessions) {
        for (const { kv, prev } of frames.flatMap(({ events }) => events)) {
          for (const seen of [kv, prev]) if (seen?.value === "c1") seen.value = "c2";
        }
      }
      h.calls[CALL.lostPut - 1].invoked = 0;
      h.native[1][0][0].value = "c2";
    },
    /nobody's write: revision [35]/,
  ],
  "a write that took effect before it was sent": [
    (h) => {
      h.calls[CALL.lostPut].invoked = 100_000;
      h.calls[CALL.lostPut].returned = 100_001;
    },
    /nobody's write: revision 5/,
  ],
  "writes against real time": [
    (h) => {
      h.calls[CALL.putC].invoked = -20;
      h.calls[CALL.putC].returned = -10;
    },
    /revision 3 was known, then 2 written/,
  ],
  "a read of one key that is stale": [
    (h) => {
      const call = h.calls[CALL.lastScan];
      replace(h, CALL.lastScan, get(C), {
        ...h.calls[CALL.getC].outcome,
      });
      assert.equal(call.id, CALL.lastScan);
    },
    /revision 9 was known, then older header/,
  ],
  "a read of one key whose header is older than another shard's write": [
    (h) => setRevision(h.calls[CALL.getA], 2),
    /revision 3 was known, then older header/,
  ],
  "a lease grant whose header is older than a write": [
    (h) => setRevision(h.calls[CALL.grant], 3),
    /revision 6 was known, then older header/,
  ],
  "a read of all shards that is stale": [
    (h) => {
      h.calls[CALL.scan].invoked = 100_000;
      h.calls[CALL.scan].returned = 100_001;
    },
    /revision 9 was known, then older header/,
  ],
  "a read of a value that was not there at its revision": [
    (h) => {
      answer(h.calls[CALL.getA], "range").kvs[0].value = "other";
    },
    /the state at revision 3 demands/,
  ],
  "a read with a wrong mod_revision": [
    (h) => {
      answer(h.calls[CALL.scan], "range").kvs[1].mod++;
    },
    /the state at revision 3 demands/,
  ],
  "a snapshot that lacks a key": [
    (h) => answer(h.calls[CALL.scan], "range").kvs.pop(),
    /the state at revision 3 demands/,
  ],
  "a wrong count": [
    (h) => {
      answer(h.calls[CALL.scan], "range").count++;
    },
    /the state at revision 3 demands/,
  ],
  "an old revision that reads differently": [
    (h) => {
      answer(h.calls[CALL.old], "range").kvs[0].value = "newer";
    },
    /the state at revision 3 demands/,
  ],
  "a read from the future": [
    (h) => {
      const { op } = h.calls[CALL.old];
      assert.ok(op.kind === "range");
      op.revision = 9;
    },
    /is older than what was read/,
  ],
  "a wrong prev_kv of a write": [
    (h) => {
      const swap = answer(h.calls[CALL.swap], "txn").answers[0];
      assert.ok(swap.kind === "put");
      swap.prev = null;
    },
    /the state before revision 4 demands/,
  ],
  "a compare that held and was answered as if not": [
    (h) => {
      const { op } = h.calls[CALL.noSwap];
      assert.ok(op.kind === "txn");
      op.compares = [modIs(A, 4)];
    },
    /should have written/,
  ],
  "a compare that did not hold and was answered as if it did": [
    (h) => {
      const { op } = h.calls[CALL.swap];
      assert.ok(op.kind === "txn");
      op.compares = [modIs(A, 3)];
    },
    /not this write/,
  ],
  "a deletion that says it found nothing": [
    (h) => {
      const deleted = answer(h.calls[CALL.removeC], "delete");
      deleted.deleted = 0;
      deleted.prev = [];
      setRevision(h.calls[CALL.removeC], 8);
    },
    /nobody's write: revision 9|should have written/,
  ],
  "an error that says nothing to the client": [
    (h) => {
      h.calls[CALL.lostNoPut].outcome = { kind: "unknown", code: 13, message: "undefined is not a function" };
    },
    /not an error to expect/,
  ],
  "another cluster_id": [
    (h) => {
      const { outcome } = h.calls[CALL.getC];
      assert.ok(outcome.kind === "answered");
      outcome.cluster = "2";
    },
    /cluster_id 2 after 1/,
  ],
  "a raft_term that falls": [
    (h) => {
      const { outcome } = h.calls[CALL.getC];
      assert.ok(outcome.kind === "answered");
      outcome.term = 1;
    },
    /raft_term 1 after 2/,
  ],
  "a call that hangs": [
    (h) => {
      h.calls[CALL.lostNoPut].outcome = {
        kind: "unknown",
        code: 4,
        message: "Deadline exceeded after 30.001s",
      };
    },
    /not an error to expect/,
  ],
  "an old revision refused, though nobody compacted": [
    (h) => {
      h.calls[CALL.old].outcome = compacted();
    },
    /refused, but not compacted/,
  ],
  "the newest state refused as compacted": [
    (h) => {
      h.calls[CALL.getA].outcome = compacted();
    },
    /the newest state was compacted/,
  ],
  "a read of what was compacted": [
    (h) => replace(h, CALL.refused, { kind: "compact", revision: 4 }, written(6, { kind: "compact" })),
    /read what was compacted/,
  ],
  "a lease that ends early": [
    (h) => {
      const { op } = h.calls[CALL.grant];
      assert.ok(op.kind === "grant");
      answer(h.calls[CALL.grant], "lease").ttl = 100;
    },
    /ended before its time/,
  ],
  "a lease that nobody granted": [(h) => h.calls.splice(CALL.grant, 1), /nobody's write: revision 8/],
  "a watch that misses an event": [(h) => session(h, "group").frames.splice(2, 1), /its event 2 is/],
  "a watch that misses its last event": [
    (h) => session(h, "key").frames.splice(3, 1),
    /its event 2 is nothing/,
  ],
  "a watch that repeats an event": [
    (h) => {
      const { frames } = session(h, "key");
      frames.splice(2, 0, structuredClone(frames[1]));
    },
    /after header|its event/,
  ],
  "a watch in another order": [
    (h) => {
      const { frames } = session(h, "key");
      [frames[1].events, frames[2].events] = [frames[2].events, frames[1].events];
    },
    /revision 3 after 5/,
  ],
  "a watch that splits a revision": [
    (h) => {
      const { frames } = session(h, "group");
      const rest = structuredClone(frames[1]);
      rest.events = frames[1].events.splice(1);
      frames.splice(2, 0, rest);
    },
    /revision 4 after (header )?4/,
  ],
  "a watch whose header is ahead of its events": [
    (h) => {
      session(h, "key").frames[1].revision = 6;
    },
    /revision 5 after header 6/,
  ],
  "a watch whose header is behind its events": [
    (h) => {
      session(h, "key").frames[1].revision = 2;
    },
    /revision 3 under header 2/,
  ],
  "a watch whose header does not grow": [
    (h) => {
      session(h, "key").frames[2].revision = 3;
    },
    /events with header 3 after 3/,
  ],
  "a watch with events in the frame that creates it": [
    (h) => {
      const { frames } = session(h, "key");
      frames[1].created = true;
      frames.shift();
    },
    /events in the frame that creates it/,
  ],
  "a watch that lacks a prev_kv": [
    (h) => {
      session(h, "key").frames[2].events[0].prev = null;
    },
    /its event 1 is/,
  ],
  "a watch of another range's event": [
    (h) => {
      const { frames } = session(h, "key");
      frames[1].events.unshift(session(h, "truth").frames[1].events[0]);
    },
    /its event 0 is/,
  ],
  "a watch that stops": [
    (h) => {
      session(h, "group").frames.splice(2);
    },
    /watch group has come to 4, the store to 9/,
  ],
  "a watch that is cancelled": [
    (h) => {
      Object.assign(session(h, "key").frames[3], { canceled: true, events: [], reason: "why not" });
    },
    /cancelled/,
  ],
  "a watch that is cancelled for a compaction that it does not need": [
    (h) => {
      Object.assign(session(h, "key").frames[2], { canceled: true, events: [], compactRevision: 4 });
    },
    /cancelled for a compaction that it does not need/,
  ],
};

for (const [what, [falsify, fault]] of Object.entries(BROKEN)) {
  test(`${what} is found`, () => {
    const history = good();
    falsify(history);
    assert.match(check(history).join("\n"), fault);
  });
}

test("a compaction may take prev_kv up to its revision and a deletion at it, and nothing else", () => {
  const sim = new Sim({ [A]: 0 });
  for (const value of ["1", "2"]) sim.answered(put(A, value));
  sim.answered(remove(A)); // 4
  sim.answered(put(A, "3")); // 5
  sim.answered({ kind: "compact", revision: 4 });
  sim.answered(put(A, "4")); // 6
  const make = (from: number) => {
    const history = sim.history({ late: { ...WHOLE, prevKv: true, from } });
    const { frames } = session(history, "late");
    for (const frame of frames) frame.at = 1_000;
    return { history, frames };
  };
  const bare = make(3);
  bare.frames[1].events[0].prev = null;
  assert.deepEqual(check(bare.history), []);
  const forgotten = make(4);
  forgotten.frames.splice(1, 1);
  assert.deepEqual(check(forgotten.history), []);
  const lost = make(3);
  lost.frames.splice(1, 1);
  assert.match(check(lost.history).join("\n"), /its event 0 is/);
  const later = make(4);
  later.frames[3].events[0].prev = null;
  assert.match(check(later.history).join("\n"), /its event 2 is/);
});

test("a key that still has its lease when the revocation is answered is found", () => {
  const sim = new Sim({ [A]: 0 });
  sim.answered({ kind: "grant", id: LEASE, ttl: 2 });
  sim.answered(put(A, "a", LEASE)); // 2
  const revoke: Op = { kind: "revoke", id: LEASE };
  sim.unknown(revoke, false);
  sim.leaseEnds(LEASE); // 3
  sim.answered(revoke);
  const history = sim.history({});
  assert.deepEqual(check(history), []);
  setRevision(history.calls[3], 2);
  assert.match(check(history).join("\n"), /lease still has a key at revision 2/);
});

test("a key that outlives its lease is found", () => {
  const sim = new Sim({ [A]: 0 });
  sim.answered({ kind: "grant", id: LEASE, ttl: 2 });
  sim.answered(put(A, "a", LEASE));
  assert.match(check(sim.history({})).join("\n"), /\/a\/k0 has outlived its lease 77/);
});

function written(revision: number, given: Answer = { kind: "put", prev: null }): DraftCall["outcome"] {
  return { kind: "answered", ...HEADER, revision, answer: structuredClone(given) as never };
}

function compacted(): DraftCall["outcome"] {
  return { kind: "refused", code: 11, message: "etcdserver: mvcc: required revision has been compacted" };
}

const D = "/a/k2";

/** Two keys move to the other shard. The lease of one ends meanwhile, and before that with keys that do not move. */
function moved(): Draft {
  const sim = new Sim({ [A]: 0, [B]: 0, [C]: 1, [D]: 0 });
  sim.answered({ kind: "grant", id: LEASE, ttl: 2 });
  sim.answered(put(A, "a1", LEASE)); // 2
  sim.answered(put(C, "c1", LEASE)); // 3
  sim.answered(put(D, "d1", LEASE)); // 4
  sim.answered(put(B, "b1")); // 5
  sim.wait(4_000);
  sim.gap(); // 6
  sim.end(D); // 7
  sim.end(C); // 8
  sim.move({ [A]: 1, [B]: 1 }, 6, [A]); // 9
  sim.answered(get(WHOLE.key, WHOLE.end));
  sim.gap(); // 10
  sim.answered(put(B, "b2")); // 11
  sim.unknown(put(D, "d2"), true); // 12
  return sim.history({ key: { key: B, end: "", prevKv: true, from: 2 } });
}

test("a correct history with plans has no faults", () => {
  assert.deepEqual(check(moved()), []);
});

const dropRevision = (h: Draft, revision: number) => {
  for (const each of h.sessions) {
    each.frames = each.frames.filter(({ events }) => events.every(({ kv }) => kv.mod !== revision));
  }
};

/** As `BROKEN`, of a history with plans. */
const BROKEN_PLANS: Readonly<Record<string, readonly [(history: Draft) => void, RegExp]>> = {
  "a revision without event before the first plan": [
    (h) => {
      h.plans!.from = 6;
    },
    /revision 6 has no event/,
  ],
  "the event of an answered write is lost for all": [
    (h) => dropRevision(h, 5),
    /should be|has made \[\], not this write/,
  ],
  "an event is lost for one": [
    (h) => {
      session(h, "key").frames.splice(2, 1);
    },
    /watch key .* its event 1 is nothing/,
  ],
  "the version begins again after the move": [
    (h) => {
      session(h, "truth").frames.find(({ revision }) => revision === 11)!.events[0].kv.version = 1;
    },
    /should be/,
  ],
  "a move changes a mod_revision": [
    (h) => {
      for (const { outcome } of h.calls) {
        if (outcome.kind !== "answered" || outcome.answer.kind !== "range") continue;
        for (const kv of outcome.answer.kvs) kv.mod = 9;
      }
    },
    /the state at revision 9 demands/,
  ],
  "a key ends at a move, but does not move": [
    (h) => {
      h.plans!.moves[0].keys = { [B]: 1 };
    },
    /nobody's write: revision 9/,
  ],
  "a lease ends for one of its keys, though none is about to move": [
    (h) => {
      h.plans!.moves[0].frozenAt = 7;
    },
    /nobody's write: revision 7/,
  ],
  "a key ends at a move before its lease does": [
    (h) => {
      const grant = h.calls[0].outcome;
      assert.ok(grant.kind === "answered" && grant.answer.kind === "lease");
      grant.answer.ttl = 60;
    },
    /ended before its time at revision 9/,
  ],
  "a key stays on its former shard": [
    (h) => h.plans!.state[0].push({ key: B, value: "b1", lease: "0" }),
    /shard 0 holds/,
  ],
  "a key did not arrive": [(h) => h.plans!.state[1].pop(), /shard 1 holds/],
  "a key has arrived with another lease": [
    (h) => {
      h.plans!.state[1][0].lease = LEASE;
    },
    /shard 1 holds/,
  ],
};

for (const [what, [falsify, fault]] of Object.entries(BROKEN_PLANS)) {
  test(`with plans, the check finds: ${what}`, () => {
    const history = moved();
    falsify(history);
    assert.match(check(history).join("\n"), fault);
  });
}
