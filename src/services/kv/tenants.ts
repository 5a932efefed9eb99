import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import { isDenied, problemOf } from "../../shard/access.js";
import type { StatusError } from "../../status/error.js";
import type { Claim, Excess, SingleClaims, Tenant } from "../../tenants/tenant.js";
import type { Tenants } from "../../tenants/tenants.js";
import { usageOfTxn, wholeUsage } from "../../tenants/usage.js";
import { KEY_ALONE } from "../../wire/keyRange.js";
import { DeleteRangeRequest, PutRequest, RangeRequest, type TxnRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { decodeTxnAhead } from "./decodeTxn.js";

/** Has a shard judge whether a client may make a request. Rejects with the shard's refusal, or with another error. */
type Judge = (call: Call, request: Uint8Array) => Promise<void>;

/**
 * Wraps a handler of KV so that a request that is above a limit of a tenant is refused, before anything is sent.
 *
 * Nobody else may use up a tenant's limits, or learn about them. So the first request of a client for a tenant's prefix is
 * judged by a shard before it is counted, and one that the shard denies later is taken back. For the tenant of the user itself,
 * both count: they are work for the shards, too.
 */
export function limited(tenants: Tenants, path: string, handler: UnaryHandler, judge: Judge): UnaryHandler {
  const claimsOf = CLAIMS.get(path);
  if (claimsOf === undefined) throw new Error(`no limits for the method ${path}`);

  /** Takes a request from the limits of these tenants. Returns undefined if it was refused. */
  const admit = (request: Uint8Array, claims: readonly Claim[], reply: Reply) => {
    const admitted = tenants.admit(claims, request.length);
    if (Array.isArray(admitted)) return admitted as readonly Claim[];
    reply(tenants.refuse(admitted as Excess));
    return undefined;
  };

  const carryOut = (call: Call, request: Uint8Array, admitted: readonly Claim[], reply: Reply) => {
    const bytes = request.length;
    handler(call, request, (error, response) => {
      settle(tenants, call, bytes, admitted, error, response);
      reply(error, response);
    });
  };

  const judgeFirst = (call: Call, request: Uint8Array, claims: readonly Claim[], reply: Reply) => {
    const own = admit(
      request,
      claims.filter(({ isOwn }) => isOwn),
      reply,
    );
    if (own === undefined) return;
    judge(call, request).then(
      () => {
        const others = claims.filter(({ isOwn }) => !isOwn);
        for (const { tenant, usage } of others) tenant.learn(call.caller!, usage, tenants.now());
        const admitted = admit(request, others, reply);
        if (admitted === undefined) tenants.giveBack(own, request.length);
        else carryOut(call, request, [...own, ...admitted], reply);
      },
      // What is wrong with it, the handler says: a denial, or an error that does not concern the other tenants.
      () => carryOut(call, request, own, reply),
    );
  };

  return (call, request, reply) => {
    if (!tenants.some) return handler(call, request, reply);
    let claims: readonly Claim[];
    try {
      claims = claimsOf(tenants, call, request);
    } catch {
      // The handler refuses it with the right error.
      return handler(call, request, reply);
    }
    if (claims.length === 0) return handler(call, request, reply);
    if (!isKnown(tenants, call, claims)) return judgeFirst(call, request, claims, reply);
    const admitted = admit(request, claims, reply);
    if (admitted !== undefined) carryOut(call, request, admitted, reply);
  };
}

/** Whether all tenants know the client. Clients that the proxy does not authenticate, and a tenant's own user, are known. */
function isKnown(tenants: Tenants, { caller }: Call, claims: readonly Claim[]): boolean {
  if (caller === undefined) return true;
  for (const { tenant, usage, isOwn } of claims)
    if (!isOwn && !tenant.knows(caller, usage, tenants.now())) return false;
  return true;
}

function settle(
  tenants: Tenants,
  { caller }: Call,
  bytes: number,
  claims: readonly Claim[],
  error: StatusError | undefined,
  response: Uint8Array | undefined,
): void {
  if (caller !== undefined && error !== undefined && isDenied(error)) {
    // Without a valid token, it was not the user.
    const isTheUser = problemOf(error.message) === undefined;
    const paying = isTheUser ? claims.filter(({ isOwn }) => isOwn) : [];
    tenants.settle(paying, bytes, 0);
    tenants.giveBack(
      claims.filter((claim) => !paying.includes(claim)),
      bytes,
    );
    for (const { tenant, usage } of claims) tenant.forget(caller, usage);
    return;
  }
  tenants.settle(claims, bytes, response?.length ?? 0);
  if (caller === undefined || error !== undefined) return;
  for (const { tenant, usage, isOwn } of claims) if (!isOwn) tenant.learn(caller, usage, tenants.now());
}

type ClaimsOf = (tenants: Tenants, call: Call, request: Uint8Array) => readonly Claim[];

const NO_CLAIMS: readonly Claim[] = [];
/** Tag of the key in the requests of one operation. */
const KEY = 0x0a;
/** Tag of the value in a put. */
const VALUE = 0x12;

/*
 * Decoding every request twice would cost too much. The usual forms, a key alone, and a key with a value, are read in place. Their
 * lengths must add up to the request, so that no further field can change what the handler reads.
 */

function claimsOfRange(tenants: Tenants, call: Call, bytes: Uint8Array): readonly Claim[] {
  const ofCaller = tenants.ofCaller(call.caller);
  if (bytes[0] === KEY && bytes[1]! < 0x80 && 2 + bytes[1]! === bytes.length)
    return claimsOfOne(tenants.ofKey(bytes, 2, bytes.length), ofCaller, "range");
  const { key, rangeEnd } = RangeRequest.decode(bytes);
  return claimsOfOne(tenants.ofRange(key, rangeEnd), ofCaller, "range");
}

function claimsOfPut(tenants: Tenants, call: Call, bytes: Uint8Array): readonly Claim[] {
  const ofCaller = tenants.ofCaller(call.caller);
  const keyEnd = 2 + bytes[1]!;
  if (bytes[0] === KEY && keyEnd < 2 + 0x80 && bytes[keyEnd] === VALUE) {
    let at = keyEnd + 1;
    let length = bytes[at++]!;
    // Values up to 16 KiB: two bytes of length.
    if (length >= 0x80) length += (bytes[at++]! - 1) * 0x80;
    if (at + length === bytes.length && length < 0x4000)
      return claimsOfValue(tenants.ofKey(bytes, 2, keyEnd), ofCaller, length);
  }
  const { key, value } = PutRequest.decode(bytes);
  return claimsOfValue(tenants.ofRange(key, KEY_ALONE), ofCaller, value.length);
}

function claimsOfDeletion(tenants: Tenants, call: Call, bytes: Uint8Array): readonly Claim[] {
  const { key, rangeEnd } = DeleteRangeRequest.decode(bytes);
  return claimsOfOne(tenants.ofRange(key, rangeEnd), tenants.ofCaller(call.caller), "deletion");
}

/** The claims of a put of a value of this size. */
function claimsOfValue(
  ofRange: Tenant | undefined,
  ofCaller: Tenant | undefined,
  size: number,
): readonly Claim[] {
  const claims = claimsOfOne(ofRange, ofCaller, "put");
  const matters = claims.some(({ tenant }) => tenant.config.limits.maxValueBytes !== undefined);
  if (!matters) return claims;
  return claims.map((claim) => ({ ...claim, usage: { ...claim.usage, largestValue: size } }));
}

/** The claims of a request with one operation. */
function claimsOfOne(
  ofRange: Tenant | undefined,
  ofCaller: Tenant | undefined,
  kind: keyof SingleClaims,
): readonly Claim[] {
  if (ofCaller === undefined) return ofRange === undefined ? NO_CLAIMS : ofRange.claims[kind];
  if (ofRange === undefined || ofRange === ofCaller) return ofCaller.ownClaims[kind];
  return [...ofRange.claims[kind], ...ofCaller.ownClaims[kind]];
}

const CLAIMS: ReadonlyMap<string, ClaimsOf> = new Map<string, ClaimsOf>([
  [KV.Range, claimsOfRange],
  [KV.Put, claimsOfPut],
  [KV.DeleteRange, claimsOfDeletion],
  [KV.Txn, (tenants, call, bytes) => claimsOfTxn(tenants, call, decodeTxnAhead(bytes))],
]);

function claimsOfTxn(tenants: Tenants, call: Call, request: TxnRequest): readonly Claim[] {
  const ofCaller = tenants.ofCaller(call.caller);
  const byRange = usageOfTxn<Tenant | undefined>(request, (key, end) => tenants.ofRange(key, end), undefined);
  const claims: Claim[] = [];
  for (const [tenant, usage] of byRange)
    if (tenant !== undefined && tenant !== ofCaller) claims.push({ tenant, usage, isOwn: false });
  // All of it counts for the user, whatever the keys are.
  if (ofCaller !== undefined) claims.push({ tenant: ofCaller, usage: wholeUsage(request), isOwn: true });
  return claims;
}
