import { mayWrite } from "../../auth/permission.js";
import { NEVER_GRANTED } from "../../lease/reserved.js";
import type { Call } from "../../rpc/call.js";
import { describeShard } from "../../shard/name.js";
import { StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import type { CarriedEntry } from "../../timeline/view.js";
import { Guarded, guard, guardedResponse, partLast } from "../../wire/guarded.js";
import type { KeyRange } from "../../wire/keyRange.js";
import { TxnRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { peekRevision } from "../../wire/rewrite.js";
import { after, ask, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";
import { BEGIN_AGAIN } from "./gen.js";
import { mayMake } from "./judge.js";
import type { Otherwise } from "./txnShape.js";

/** Longest put that carries an entry. The time for a longer one is in its value. */
const MAX_CARRIER_BYTES = 64 << 10;

export const NO_LEASES: readonly bigint[] = [];

/** A write on one shard. It is carried out only if the shard has no newer change of the placement than `position`. */
export interface Write {
  readonly kind: "put" | "deleteRange" | "txn";
  readonly shard: number;
  /** `Timeline.placementPosition` from before the shard was chosen and the request translated. */
  readonly position: number;
  /** Number of this attempt of the call, from 1. */
  readonly attempt: number;
  /** The request for the shard. */
  readonly payload: Uint8Array;
  /** Leases of its puts, never 0. */
  readonly leases: readonly bigint[];
  /**
   * True when only the shard may report that a lease does not exist. In a transaction, the put with the lease need not be
   * in the branch that is taken.
   */
  readonly shardJudgesLeases: boolean;
  /** Set if the response includes the previous values of these keys. */
  readonly previous?: KeyRange | undefined;
  /** True if the client was found to be allowed the write, which is then made in the proxy's own name. */
  readonly isAdmitted?: boolean;
  /** Set for a transaction that may write if its compares do not hold. */
  readonly otherwise?: Otherwise | undefined;
}

/**
 * Called with the response to the client's request, and the shard revision of the write; or with an error, which is
 * `BEGIN_AGAIN` if the call has to choose the shard again.
 */
export type Written = (error: StatusError | undefined, response: Uint8Array, shardRevision: number) => void;

/**
 * Sends a write to its shard, in a transaction that compares gen, once its leases have their parts there. When the shard
 * refuses it because it has lost the part of a lease, the write was not applied. The part is restored, and the write is sent
 * once more.
 */
export function sendWrite(context: KvContext, call: Call, write: Write, done: Written): void {
  if (write.otherwise === undefined || call.caller === undefined) {
    sendAdmitted(context, call, write, done);
    return;
  }
  // Older etcds do not check permission for nested transactions, and `request` nests this one.
  after(mayMake(context, call, KV.Txn, write.payload, write.shard), (error) => {
    if (error !== undefined) done(error, NO_RESPONSE, 0);
    else sendAdmitted(context, call, write, done);
  });
}

function sendAdmitted(context: KvContext, call: Call, write: Write, done: Written): void {
  if (write.leases.length === 0) send(context, call, write, done);
  // Placing a lease needs the host as well.
  else if (context.timeline.isHostAway) whenWritable(context, call, write, done, sendWithLeases);
  else sendWithLeases(context, call, write, done);
}

/** `sendWrite` as a promise, for calls that are not hot. Rejects with `StatusError`. */
export function sendWriteAsync(
  context: KvContext,
  call: Call,
  write: Write,
): Promise<{ readonly response: Uint8Array; readonly shardRevision: number }> {
  return new Promise((resolve, reject) => {
    sendWrite(context, call, write, (error, response, shardRevision) => {
      if (error === undefined) resolve({ response, shardRevision });
      else reject(error);
    });
  });
}

/** Runs `step` once the write could be sealed. Sent before, it would take effect although its client gets an error. */
function whenWritable(
  context: KvContext,
  call: Call,
  write: Write,
  done: Written,
  step: typeof sendWrite,
): void {
  context.timeline.whenWritable((error) => {
    if (error !== undefined) done(error, NO_RESPONSE, 0);
    else step(context, call, write, done);
  });
}

function sendWithLeases(context: KvContext, call: Call, write: Write, done: Written): void {
  const missing = write.leases.filter((lease) => !context.leases.isPlaced(lease, write.shard));
  if (call.caller === undefined) {
    sendLeased(context, call, write, missing, done);
    return;
  }
  after(admit(context, call, write, missing), (error) => {
    if (error !== undefined) done(error, NO_RESPONSE, 0);
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
  { kind, shard, payload, leases }: Write,
  missing: readonly bigint[],
): Promise<void> {
  const path = PATHS[kind];
  if (missing.length > 0) await mayMake(context, call, path, payload, shard);
  if (kind === "txn") {
    const elsewhere = await Promise.all(leases.map((lease) => context.leases.keysElsewhere(lease, shard)));
    // Only some etcd versions check the keys of leases in a transaction, so the shard decides.
    await Promise.all(elsewhere.flat().map((part) => mayMake(context, call, path, payload, part.shard)));
    return;
  }
  // etcd checks the keys of a put's lease, but in the transaction that the shard gets, only some versions do.
  const keys = await Promise.all(leases.map((lease) => context.leases.keysOf(lease, shard)));
  await Promise.all(keys.flat().map((part) => mayWrite(context.shardAt(part.shard), call, part.keys)));
}

const PATHS = { put: KV.Put, deleteRange: KV.DeleteRange, txn: KV.Txn } as const;

function sendLeased(
  context: KvContext,
  call: Call,
  write: Write,
  missing: readonly bigint[],
  done: Written,
): void {
  const { leases } = context;
  if (missing.length === 0) {
    sendPlaced(context, call, write, done);
    return;
  }
  const placed = missing.map((lease) => tolerant(leases.ensurePlaced(lease, write.shard), write));
  after(Promise.all(placed), (error) => {
    if (error !== undefined) done(error, NO_RESPONSE, 0);
    else sendPlaced(context, call, write, done);
  });
}

function sendPlaced(context: KvContext, call: Call, write: Write, done: Written): void {
  const { router, timeline } = context;
  // After a plan, a lease may have another home than this proxy knows. In other stores, the home itself decides.
  const mayHaveMoved = timeline.placementPosition > 0;
  const parts = write.leases.filter((lease) => mayHaveMoved || router.homeOf(lease) !== write.shard);
  if (parts.length === 0) {
    send(context, call, write, done);
    return;
  }
  send(context, call, write, (error, response, shardRevision) => {
    if (!etcd.leaseNotFound.is(error)) return done(error, response, shardRevision);
    const repaired = parts.map((lease) => tolerant(context.leases.repair(lease, write.shard), write));
    after(Promise.all(repaired), (failure) => {
      if (failure !== undefined) done(failure, NO_RESPONSE, 0);
      else send(context, call, write, done);
    });
  });
}

function send(context: KvContext, call: Call, write: Write, done: Written): void {
  if (context.timeline.isHostAway) {
    whenWritable(context, call, write, done, sendNow);
    return;
  }
  sendNow(context, call, write, done);
}

function sendNow(context: KvContext, call: Call, write: Write, done: Written): void {
  if (!mayCarryEntry(call, write)) transmit(context, call, write, undefined, done);
  else context.timeline.withEntry(write.shard, (entry) => transmit(context, call, write, entry, done));
}

/**
 * With a caller, the shard would judge the entry's puts by the caller's permissions. A part of a lease may be missing, and a
 * large value may leave no room for an entry within the shard's limit.
 */
const mayCarryEntry = ({ caller }: Call, { kind, leases, payload }: Write): boolean =>
  kind === "put" && leases.length === 0 && caller === undefined && payload.length <= MAX_CARRIER_BYTES;

/** Sends the write, with the entry that it carries if there is one. */
function transmit(
  context: KvContext,
  call: Call,
  write: Write,
  entry: CarriedEntry | undefined,
  done: Written,
): void {
  let payload: Uint8Array;
  try {
    payload = request(context, call, write, entry);
  } catch (reason) {
    entry?.settle(undefined);
    done(StatusError.from(reason), NO_RESPONSE, 0);
    return;
  }
  const own = callOptions(call, "write", context.limits);
  const options = write.isAdmitted === true ? { ...own, caller: undefined } : own;
  ask(call, context.shardAt(write.shard), KV.Txn, payload, options, (error, answer) => {
    if (error !== undefined) {
      entry?.settle(undefined);
      failed(context, write, error, done);
      return;
    }
    let response: Uint8Array | undefined;
    let shardRevision = 0;
    try {
      entry?.settle(answer);
      response = responseOf(context, write, answer);
      shardRevision = peekRevision(answer);
    } catch (reason) {
      done(StatusError.from(reason), NO_RESPONSE, 0);
      return;
    }
    if (response === undefined) {
      // Nothing was written. Perhaps only because the entry did not fit, which does not matter to the put.
      if (entry !== undefined) transmit(context, call, write, undefined, done);
      else refused(context, write, done);
      return;
    }
    context.timeline.wrote(write.shard, shardRevision);
    done(undefined, response, shardRevision);
  });
}

/**
 * The transaction for the shard, which also compares gen. A transaction of the client gets one more compare, if only its
 * success branch writes. Other requests are put into the success branch of one that compares gen.
 */
function request(context: KvContext, call: Call, write: Write, entry: CarriedEntry | undefined): Uint8Array {
  const { kind, payload, otherwise } = write;
  const compared = context.gen.compareOn(write.shard, write.position);
  if (kind !== "txn") {
    // In a transaction, older etcds check permission to read previous values only if an operation reads them. etcd also
    // checks the branch that is not taken.
    const isChecked = write.previous !== undefined && call.caller !== undefined;
    const failure = isChecked ? readIn(write.previous) : undefined;
    return guard(Guarded[kind], payload, compared.compare, entry?.fields ?? failure);
  }
  // Repeated fields can be continued at the end of a message.
  if (otherwise === undefined) return Buffer.concat([payload, compared.compareAndRead]);
  return guard(Guarded.txn, payload, compared.compare, otherwise.put && refusalAt(otherwise.put));
}

const readIn = (range: KeyRange | undefined): Uint8Array =>
  TxnRequest.encode({ failure: [{ kind: "range", request: range ?? {} }] });

/**
 * A failure branch that cannot be carried out. An etcd without space refuses transactions that put keys, but does not look
 * into nested ones, so the outer one has a put, too.
 */
const refusalAt = (key: Uint8Array): Uint8Array =>
  TxnRequest.encode({ failure: [{ kind: "put", request: { key, lease: NEVER_GRANTED } }] });

/** The response to the client's request; undefined if gen did not hold. */
function responseOf({ gen }: KvContext, write: Write, answer: Uint8Array): Uint8Array | undefined {
  if (write.kind !== "txn" || write.otherwise !== undefined) return guardedResponse(answer);
  const parted = partLast(answer);
  if (parted === undefined) return answer;
  return gen.held(parted.last, write.shard, write.position) ? parted.rest : undefined;
}

/** Passes on a shard's error, unless it is that of `refusalAt`. */
function failed(context: KvContext, write: Write, error: StatusError, done: Written): void {
  if (write.otherwise?.put === undefined || !etcd.leaseNotFound.is(error)) {
    done(explained(context, write, error), NO_RESPONSE, 0);
    return;
  }
  context.gen.isAbove(context.shardAt(write.shard), write.position).then(
    (isAbove) => {
      if (isAbove) refused(context, write, done);
      else done(error, NO_RESPONSE, 0);
    },
    (reason) => done(StatusError.from(reason), NO_RESPONSE, 0),
  );
}

function refused(context: KvContext, write: Write, done: Written): void {
  const { shard, position, attempt } = write;
  after(context.gen.refused(context.shardAt(shard), position, attempt), (error) =>
    done(error ?? BEGIN_AGAIN, NO_RESPONSE, 0),
  );
}

/** The proxy has checked the limits already, so the shard's own limit is the reason. */
function explained({ shardAt, limits }: KvContext, { shard }: Write, error: StatusError): StatusError {
  if (!etcd.tooManyOps.is(error)) return error;
  return new StatusError(
    error.code,
    `${error.message} (${describeShard(shardAt(shard))} needs --max-txn-ops=${limits.maxTxnOps + 2})`,
    { cause: error },
  );
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
