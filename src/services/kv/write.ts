import { mayWrite } from "../../auth/permission.js";
import type { Call } from "../../rpc/call.js";
import type { Done } from "../../shard/shard.js";
import { etcd } from "../../status/etcd.js";
import { KV } from "../../wire/paths.js";
import { after, ask, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";
import { mayMake } from "./judge.js";

export const NO_LEASES: readonly bigint[] = [];

/** A write on one shard. */
export interface Write {
  /** Full method, such as `/etcdserverpb.KV/Put`. */
  readonly path: string;
  readonly shard: number;
  /** The request for the shard. */
  readonly payload: Uint8Array;
  /** Leases of its puts, never 0. */
  readonly leases: readonly bigint[];
  /**
   * True when only the shard may report that a lease does not exist. In a transaction, the put with the lease need not be
   * in the branch that is taken.
   */
  readonly shardJudgesLeases: boolean;
}

/**
 * Sends a write to its shard, once its leases have their parts there. When the shard refuses it because it has lost the
 * part of a lease, the write was not applied. The part is restored, and the write is sent once more.
 */
export function sendWrite(context: KvContext, call: Call, write: Write, done: Done): void {
  if (write.leases.length === 0) send(context, call, write, done);
  // Placing a lease needs the host as well.
  else if (context.timeline.isHostAway) whenWritable(context, call, write, done, sendWithLeases);
  else sendWithLeases(context, call, write, done);
}

/** `sendWrite` as a promise, for calls that are not hot. Rejects with `StatusError`. */
export function sendWriteAsync(context: KvContext, call: Call, write: Write): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    sendWrite(context, call, write, (error, response) => {
      if (error === undefined) resolve(response);
      else reject(error);
    });
  });
}

/** Runs `step` once the write could be sealed. Sent before, it would take effect although its client gets an error. */
function whenWritable(
  context: KvContext,
  call: Call,
  write: Write,
  done: Done,
  step: typeof sendWrite,
): void {
  context.timeline.whenWritable((error) => {
    if (error !== undefined) done(error, NO_RESPONSE);
    else step(context, call, write, done);
  });
}

function sendWithLeases(context: KvContext, call: Call, write: Write, done: Done): void {
  const missing = write.leases.filter((lease) => !context.leases.isPlaced(lease, write.shard));
  if (call.caller === undefined) {
    sendLeased(context, call, write, missing, done);
    return;
  }
  after(admit(context, call, write, missing), (error) => {
    if (error !== undefined) done(error, NO_RESPONSE);
    else sendLeased(context, call, write, missing, done);
  });
}

/**
 * Resolves when the client may make the write, as far as the shard cannot judge that from the write itself: before a
 * `missing` lease is placed there, and by the keys that the leases have on other shards. Rejects with a refusal.
 */
async function admit(
  context: KvContext,
  call: Call,
  { path, shard, payload, leases }: Write,
  missing: readonly bigint[],
): Promise<void> {
  if (missing.length > 0) await mayMake(context, call, path, payload, shard);
  const elsewhere = await Promise.all(leases.map((lease) => context.leases.keysElsewhere(lease, shard)));
  await Promise.all(
    elsewhere.flat().map((part) => {
      // Only some etcd versions check the keys of leases in a transaction, so the shard decides.
      if (path === KV.Txn) return mayMake(context, call, path, payload, part.shard);
      return mayWrite(context.shardAt(part.shard), call, part.keys);
    }),
  );
}

function sendLeased(
  context: KvContext,
  call: Call,
  write: Write,
  missing: readonly bigint[],
  done: Done,
): void {
  const { leases } = context;
  if (missing.length === 0) {
    sendPlaced(context, call, write, done);
    return;
  }
  const placed = missing.map((lease) => tolerant(leases.ensurePlaced(lease, write.shard), write));
  after(Promise.all(placed), (error) => {
    if (error !== undefined) done(error, NO_RESPONSE);
    else sendPlaced(context, call, write, done);
  });
}

function sendPlaced(context: KvContext, call: Call, write: Write, done: Done): void {
  const { router } = context;
  const parts = write.leases.filter((lease) => router.homeOf(lease) !== write.shard);
  if (parts.length === 0) {
    send(context, call, write, done);
    return;
  }
  send(context, call, write, (error, response) => {
    if (!etcd.leaseNotFound.is(error)) return done(error, response);
    const repaired = parts.map((lease) => tolerant(context.leases.repair(lease, write.shard), write));
    after(Promise.all(repaired), (failure) => {
      if (failure !== undefined) done(failure, NO_RESPONSE);
      else send(context, call, write, done);
    });
  });
}

function send(context: KvContext, call: Call, write: Write, done: Done): void {
  if (context.timeline.isHostAway) {
    whenWritable(context, call, write, done, sendNow);
    return;
  }
  sendNow(context, call, write, done);
}

function sendNow(context: KvContext, call: Call, write: Write, done: Done): void {
  const options = callOptions(call, "write", context.limits);
  ask(call, context.shardAt(write.shard), write.path, write.payload, options, done);
}

/** `placement`, except that a lease which does not exist is no error where the shard judges that. */
async function tolerant(placement: Promise<void>, write: Write): Promise<void> {
  try {
    await placement;
  } catch (reason) {
    if (!(write.shardJudgesLeases && etcd.leaseNotFound.is(reason))) throw reason;
  }
}

const NO_RESPONSE = new Uint8Array(0);
