import type { Service } from "../rpc/service.js";
import type { Tenant } from "../tenants/tenant.js";
import type { Tenants } from "../tenants/tenants.js";
import { keyText } from "../watch/keys.js";
import { KEY_ALONE, type KeyRange } from "../wire/keyRange.js";
import {
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  type RequestOp,
  TxnRequest,
} from "../wire/messages.js";
import { KV } from "../wire/paths.js";
import { type Groups, MAX_GROUP_BYTES, type Place } from "./groups.js";

/** One of so many requests is looked at, on average. It counts for all of them. */
export const SAMPLED = 64;
/** Most groups whose requests are counted. */
const MAX_GROUPS = 4_096;
/** Time constant of the rates, in milliseconds: older requests count less and less. */
const MEMORY_MS = 60_000;
/** Time between two steps in which counts fall, in milliseconds. */
const STEP_MS = 5_000;
/** A group that counts less is forgotten. */
const LEAST = 0.5;

/** How busy a group is. */
export interface BusyGroup {
  readonly group: Uint8Array;
  readonly shard: string;
  readonly tenant: Tenant | undefined;
  readonly requestsPerSecond: number;
}

interface Counted extends Place {
  shard: string;
  tenant: Tenant | undefined;
  weight: number;
}

/** The rates of requests of the busiest groups. Times are in milliseconds, from one monotonic clock. */
export class RequestRates {
  private readonly groups = new Map<string, Counted>();
  private steppedAt: number;

  constructor(
    private readonly since: number,
    private readonly maxGroups = MAX_GROUPS,
  ) {
    this.steppedAt = since;
  }

  /** Counts one request for a group as `weight` requests. */
  add({ group, shard }: Place, tenant: Tenant | undefined, weight: number, now: number): void {
    if (group.length > MAX_GROUP_BYTES) return;
    this.decay(now);
    const text = keyText(group);
    const known = this.groups.get(text);
    if (known !== undefined) {
      known.weight += weight;
      known.shard = shard;
      known.tenant = tenant;
      return;
    }
    if (this.groups.size >= this.maxGroups) this.forgetHalf();
    this.groups.set(text, { group: Uint8Array.from(group), shard, tenant, weight });
  }

  /** All known groups by their text. */
  all(now: number): ReadonlyMap<string, BusyGroup> {
    this.decay(now);
    // Before there were requests for as long as the memory, less of it is filled.
    const filled = MEMORY_MS * (1 - Math.exp(-Math.max(STEP_MS, now - this.since) / MEMORY_MS));
    return new Map(
      Array.from(this.groups, ([text, { group, shard, tenant, weight }]) => [
        text,
        { group, shard, tenant, requestsPerSecond: (weight * 1_000) / filled },
      ]),
    );
  }

  private decay(now: number): void {
    const passed = now - this.steppedAt;
    if (passed < STEP_MS) return;
    this.steppedAt = now;
    const factor = Math.exp(-passed / MEMORY_MS);
    for (const [text, counted] of this.groups) {
      counted.weight *= factor;
      if (counted.weight < LEAST) this.groups.delete(text);
    }
  }

  /** Forgets the quieter half of the groups. */
  private forgetHalf(): void {
    const quiet = [...this.groups].sort(([, a], [, b]) => a.weight - b.weight);
    for (const [text] of quiet.slice(0, Math.ceil(quiet.length / 2))) this.groups.delete(text);
  }
}

export interface SamplingDeps {
  readonly rates: RequestRates;
  readonly groups: Pick<Groups, "ofRange">;
  readonly tenants: Pick<Tenants, "ofRange">;
  /** Milliseconds, monotonic. */
  now(): number;
  /** A uniform random number in [0, 1). */
  random(): number;
}

/** Wraps the methods of KV so that a sample of the requests that succeed is counted for their groups. */
export function sampled(service: Service, deps: SamplingDeps): Service {
  const { rates, groups, tenants, now, random } = deps;
  // Random gaps, because requests can follow a pattern.
  const gap = () => 1 + Math.floor(random() * (2 * SAMPLED - 1));
  let left = gap();
  const unary = new Map(service.unary);
  for (const [path, rangeOf] of RANGES) {
    const handler = service.unary.get(path);
    if (handler === undefined) throw new Error(`the service has no method ${path}`);
    unary.set(path, (call, request, reply) => {
      if (--left > 0) return handler(call, request, reply);
      left = gap();
      // A request may be gone when its response comes.
      const range = rangeIn(rangeOf, request);
      const place = range && groups.ofRange(range.key, range.rangeEnd);
      if (range === undefined || place === undefined) return handler(call, request, reply);
      const tenant = tenants.ofRange(range.key, range.rangeEnd);
      const counted = { group: Uint8Array.from(place.group), shard: place.shard };
      handler(call, request, (error, response) => {
        // Nobody fills the list with requests that a shard denies.
        if (error === undefined) rates.add(counted, tenant, SAMPLED, now());
        reply(error, response);
      });
    });
  }
  return { ...service, unary };
}

type RangeOf = (request: Uint8Array) => KeyRange | undefined;

/** The range of a request; undefined if it has none, or is malformed, which the handler says. */
function rangeIn(rangeOf: RangeOf, request: Uint8Array): KeyRange | undefined {
  try {
    return rangeOf(request);
  } catch {
    return undefined;
  }
}

/** What decides the group of a request. */
const RANGES: ReadonlyMap<string, RangeOf> = new Map<string, RangeOf>([
  [KV.Range, (request) => RangeRequest.decode(request)],
  [KV.Put, (request) => ({ key: PutRequest.decode(request).key, rangeEnd: KEY_ALONE })],
  [KV.DeleteRange, (request) => DeleteRangeRequest.decode(request)],
  [KV.Txn, (request) => firstRange(TxnRequest.decode(request))],
]);

/** A transaction mostly concerns one group: the first of its ranges decides. */
function firstRange({ compare, success, failure }: TxnRequest): KeyRange | undefined {
  return compare[0] ?? firstOf(success) ?? firstOf(failure);
}

function firstOf(operations: readonly RequestOp[]): KeyRange | undefined {
  for (const op of operations) {
    if (op.kind === "put") return { key: op.request.key, rangeEnd: KEY_ALONE };
    if (op.kind === "range" || op.kind === "deleteRange") return op.request;
    const inner = op.kind === "txn" ? firstRange(op.request) : undefined;
    if (inner !== undefined) return inner;
  }
  return undefined;
}
