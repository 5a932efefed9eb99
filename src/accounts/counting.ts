import type { Tenant } from "../tenants/tenant.js";
import { MAX_GROUP_BYTES, type Place } from "./groups.js";
import { Top } from "./top.js";

/** Number of keys, and bytes of keys and values. */
export interface Total {
  keys: number;
  bytes: number;
}

/** What is stored in one group. */
export interface CountedGroup extends Readonly<Total> {
  readonly group: Uint8Array;
  readonly shard: string;
  /** The tenant of all its keys. */
  readonly tenant: Tenant | undefined;
}

/** What is stored, as far as it was counted. */
export interface Count {
  /** By name. */
  readonly shards: ReadonlyMap<string, Readonly<Total>>;
  readonly tenants: ReadonlyMap<Tenant, Readonly<Total>>;
  /** The largest groups by keys and those by bytes, without order. */
  readonly groups: readonly CountedGroup[];
}

/** Groups to keep by keys, and as many by bytes. */
const MAX_GROUPS = 1_000;

interface OpenGroup extends CountedGroup {
  keys: number;
  bytes: number;
  tenant: Tenant | undefined;
}

/**
 * Counts keys that come in ascending order. Its memory does not grow with the number of keys and groups: a group is a prefix of its
 * keys, so it is complete when the first key without that prefix comes.
 */
export class Counting {
  private readonly shards = new Map<string, Total>();
  private readonly tenants = new Map<Tenant, Total>();
  /** Groups whose keys may still come: prefixes of the last key, the longest last. */
  private readonly open: OpenGroup[] = [];
  private readonly byKeys: Top<CountedGroup>;
  private readonly byBytes: Top<CountedGroup>;

  /** `tenants` have a total even if they have no keys. */
  constructor(tenants: Iterable<Tenant>, maxGroups = MAX_GROUPS) {
    for (const tenant of tenants) this.tenants.set(tenant, { keys: 0, bytes: 0 });
    this.byKeys = new Top(maxGroups, ({ keys }) => keys);
    this.byBytes = new Top(maxGroups, ({ bytes }) => bytes);
  }

  add(key: Uint8Array, bytes: number, { group, shard }: Place, tenant: Tenant | undefined): void {
    addTo(this.shards, shard, bytes);
    if (tenant !== undefined) addTo(this.tenants, tenant, bytes);
    while (this.open.length > 0 && !startsWith(key, this.open.at(-1)!.group)) this.close();
    if (group.length > MAX_GROUP_BYTES) return;
    const open = this.openGroup(group, shard, tenant);
    open.keys++;
    open.bytes += bytes;
    if (open.tenant !== tenant) open.tenant = undefined;
  }

  result(): Count {
    while (this.open.length > 0) this.close();
    const groups = [...new Set([...this.byKeys.largest(), ...this.byBytes.largest()])];
    return { shards: this.shards, tenants: this.tenants, groups };
  }

  /** All open groups are prefixes of one key, so their lengths tell them apart. */
  private openGroup(group: Uint8Array, shard: string, tenant: Tenant | undefined): OpenGroup {
    let at = this.open.length;
    while (at > 0 && this.open[at - 1]!.group.length > group.length) at--;
    const last = this.open[at - 1];
    if (last?.group.length === group.length) return last;
    const opened = { group: Uint8Array.from(group), shard, tenant, keys: 0, bytes: 0 };
    this.open.splice(at, 0, opened);
    return opened;
  }

  private close(): void {
    const group = this.open.pop()!;
    this.byKeys.add(group);
    this.byBytes.add(group);
  }
}

function addTo<K>(totals: Map<K, Total>, of: K, bytes: number): void {
  let total = totals.get(of);
  if (total === undefined) {
    total = { keys: 0, bytes: 0 };
    totals.set(of, total);
  }
  total.keys++;
  total.bytes += bytes;
}

function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  if (prefix.length > key.length) return false;
  for (let i = 0; i < prefix.length; i++) if (key[i] !== prefix[i]) return false;
  return true;
}
