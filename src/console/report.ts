/*
 * What the console's server sends to its page and to `braid top`, as JSON. Types only: the page imports them, too. Keys and values
 * are in base64url, because they need not be text. Null stands for what is not known.
 */

/** Who looks, and how one signs in. */
export interface SessionReport {
  readonly version: string;
  /** How one signs in: as a user of the store, with the console's password, or not at all. */
  readonly mode: "user" | "password" | "open";
  readonly isSignedIn: boolean;
  /** The store's user; null if there is none. */
  readonly user: string | null;
  /** True if addresses, other clients' watches and plans are shown: with authentication on, to users with the role root. */
  readonly isOperator: boolean;
}

/** The state of one member of a cluster. */
export interface MemberReport {
  /** Its address, or its number if the user may not see addresses. */
  readonly endpoint: string;
  readonly state: "leader" | "follower" | "no leader" | "connected" | "unreachable" | "unknown";
  readonly version: string | null;
  /** Bytes of the backend file, and of what is in use in it. */
  readonly size: number | null;
  readonly sizeInUse: number | null;
  /** Bytes; since etcd 3.6. */
  readonly quota: number | null;
  /** True for the member that this proxy's calls go to. */
  readonly isInUse: boolean;
  /** What the member reports, such as an alarm, or why it cannot be reached. */
  readonly problems: readonly string[];
}

/** Rates and latencies of calls over the last seconds. Null before there are two samples. */
export interface CallRates {
  readonly requestsPerSecond: number | null;
  readonly errorsPerSecond: number | null;
  /** Seconds; null without calls. A slowest bucket without an upper bound counts as its lower bound. */
  readonly p50: number | null;
  readonly p99: number | null;
}

export interface ShardReport extends CallRates {
  readonly name: string;
  readonly isTimelineHost: boolean;
  /** False for a timeline host that holds no keys. */
  readonly holdsKeys: boolean;
  /** `down`: no member responds. `degraded`: some do not, or one reports a problem. */
  readonly state: "ok" | "degraded" | "down" | "unknown";
  /** The newest sealed revision, as the shard itself counts. */
  readonly revision: number | null;
  readonly alarms: readonly string[];
  readonly members: readonly MemberReport[];
}

/** A status code and how often calls ended with it. */
export interface CodeCount {
  readonly code: string;
  readonly total: number;
  readonly perSecond: number | null;
}

export interface MethodReport extends CallRates {
  readonly method: string;
  readonly inFlight: number;
}

/** Series of the last minutes, oldest first; one number for each time in `at`, null where it is not known. */
export interface History {
  /** Milliseconds since the epoch. */
  readonly at: readonly number[];
  readonly requests: readonly (number | null)[];
  readonly errors: readonly (number | null)[];
  readonly p50: readonly (number | null)[];
  readonly p99: readonly (number | null)[];
  readonly sealP50: readonly (number | null)[];
  readonly sealP99: readonly (number | null)[];
  readonly watches: readonly number[];
  readonly connections: readonly number[];
  /** Bytes. */
  readonly memory: readonly number[];
  /** By name of the shard. */
  readonly shards: Readonly<
    Record<
      string,
      { readonly requests: readonly (number | null)[]; readonly p99: readonly (number | null)[] }
    >
  >;
}

export interface Overview {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly version: string;
  /** When the proxy started, in milliseconds since the epoch. */
  readonly startedAt: number | null;
  /** Worker processes that the numbers are of. */
  readonly workers: number;
  /** The store's id; null if the numbers come from a metrics page. */
  readonly store: string | null;
  readonly revision: number;
  readonly compactRevision: number;
  readonly calls: CallRates;
  readonly inFlight: number;
  readonly methods: readonly MethodReport[];
  /** All codes but OK. */
  readonly errors: readonly CodeCount[];
  readonly shards: readonly ShardReport[];
  readonly timeline: {
    readonly entries: number;
    readonly segments: number;
    readonly tableBytes: number;
    readonly sealP50: number | null;
    readonly sealP99: number | null;
    readonly appendP50: number | null;
    readonly appendP99: number | null;
    readonly appendsPerSecond: number | null;
    readonly isHostReachable: boolean;
  };
  readonly watches: {
    readonly streams: number;
    readonly synced: number;
    readonly lagging: number;
    readonly replaying: number;
    /** Revisions that have not been delivered to watches yet. */
    readonly lag: number;
    readonly eventsPerSecond: number | null;
    readonly slowClients: number;
  };
  readonly leases: {
    readonly granted: number;
    readonly ended: number;
    readonly placed: number;
    readonly ending: number;
    readonly renewalsPerSecond: number | null;
  };
  readonly connections: { readonly http2: number; readonly http1: number; readonly refused: number };
  /** Bytes; `cpu` in cores. */
  readonly memory: { readonly resident: number; readonly heap: number; readonly cpu: number | null };
  /** Number of the plan that moves keys; null without one. */
  readonly plan: number | null;
  /** Alarms of all clusters. */
  readonly alarms: readonly string[];
  readonly history: History;
}

/** An entry of the tree of keys: a key, or all keys with a common beginning. */
export type KeyEntry =
  | { readonly kind: "key"; readonly key: string }
  /** `keys` is exact at the revision of the page. */
  | { readonly kind: "folder"; readonly prefix: string; readonly keys: number };

export interface KeyPage {
  readonly prefix: string;
  readonly revision: number;
  /** Number of keys from this page's first one to the end of the prefix. */
  readonly keys: number;
  readonly entries: readonly KeyEntry[];
  /** Where the next page begins; null after the last one. */
  readonly next: string | null;
}

/** A range that a user may read. */
export interface ReadableRange {
  readonly key: string;
  /** As in etcd: empty for the single key, one zero byte for all keys from `key` on. */
  readonly rangeEnd: string;
  /** The prefix that the range is, if it is one. */
  readonly prefix: string | null;
}

/** A version of a key. */
export interface VersionReport {
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  /** Decimal; "0" without a lease. */
  readonly lease: string;
  /** Bytes of the whole value. */
  readonly size: number;
  /** The value, or its beginning. */
  readonly value: string;
  readonly isWhole: boolean;
}

/** Where a key is, and why. */
export interface PlaceReport {
  readonly shard: string;
  /** The key's group: the keys that always stay with it. */
  readonly group: string;
  /** Hexadecimal. */
  readonly hash: string;
  /** The rule in words. */
  readonly rule: string;
  /** True if the rule names the shard. */
  readonly isPinned: boolean;
  /** The shard that a plan moves the key to, or has moved it from; null without one. */
  readonly move: {
    readonly from: string;
    readonly to: string;
    readonly isDone: boolean;
    readonly waits: boolean;
  } | null;
}

export interface KeyReport {
  readonly key: string;
  readonly revision: number;
  /** Null if the key does not exist. */
  readonly current: VersionReport | null;
  readonly lease: { readonly id: string; readonly ttl: number; readonly grantedTtl: number } | null;
  readonly place: PlaceReport;
}

export interface VersionsReport {
  readonly versions: readonly VersionReport[];
  /** The revision to continue at; null if there is nothing more to see. */
  readonly next: number | null;
  /** Why there is nothing more: the key was created then, or older revisions are compacted. */
  readonly end: "created" | "compacted" | null;
}

export interface WatchReport {
  readonly id: number;
  readonly key: string;
  /** As in etcd. */
  readonly rangeEnd: string;
  readonly state: string;
  /** Revisions from the watch's position to the newest one. */
  readonly lag: number;
}

export interface WatchClientReport {
  /** Address of the client; null where it is not known. */
  readonly client: string | null;
  readonly user: string | null;
  /** Milliseconds since the epoch. */
  readonly since: number;
  readonly watches: number;
  /** The largest lag among the first 1,000 watches. */
  readonly lag: number;
  readonly queuedBytes: number;
  /** True while the client leaves so much unread that it gets no further events. */
  readonly isSlow: boolean;
  readonly eventsSent: number;
  /** The watches that lag most. */
  readonly shown: readonly WatchReport[];
}

export interface WatchesReport {
  readonly streams: number;
  readonly watches: number;
  readonly slow: number;
  readonly queuedBytes: number;
  /** The slowest and largest streams first. */
  readonly clients: readonly WatchClientReport[];
  /** Set if other worker processes have further clients. */
  readonly workers: number;
}

export interface PlanReport {
  readonly number: number;
  readonly direction: "up" | "down";
  readonly state: "moving" | "paused" | "waiting" | "unattended";
  readonly frozen: boolean;
  readonly proxy: string | null;
  readonly reason: string | null;
  readonly advice: string | null;
  readonly maxKeysPerSecond: number | null;
  readonly keys: number | null;
  readonly bytes: number | null;
  readonly steps: number | null;
  readonly totalKeys: number | null;
  readonly totalBytes: number | null;
  readonly phase: string | null;
  readonly cursor: string | null;
  readonly step: { readonly from: string | null; readonly to: string | null } | null;
  readonly keysPerSecond: number | null;
  readonly lastPauseMs: number | null;
  readonly longestPauseMs: number | null;
  /** The difference between the two maps, in words. */
  readonly changes: readonly string[];
}

export interface PlansReport {
  /** Null while no keys move. */
  readonly plan: PlanReport | null;
  /** Number of plans so far. */
  readonly plans: number;
  /** Why the records cannot be read. */
  readonly problem: string | null;
}

export interface RuleReport {
  /** Printable; empty for all other keys. */
  readonly prefix: string;
  readonly text: string;
  readonly shard: string | null;
}

/** A group of keys with what is counted of it. */
export interface GroupReport {
  /** The group in base64url. */
  readonly group: string;
  readonly shard: string;
  readonly keys: number | null;
  readonly bytes: number | null;
  readonly requestsPerSecond: number;
  readonly watches: number;
  readonly tenant: string | null;
}

export interface GroupsReport {
  /** `keys` and `bytes` are null if they are not known, or not for this user. */
  readonly shards: readonly {
    readonly name: string;
    readonly weight: number;
    readonly keys: number | null;
    readonly bytes: number | null;
  }[];
  readonly rules: readonly RuleReport[];
  /** The largest, the busiest and the most watched groups, without order; null if this user may not see them. */
  readonly groups: readonly GroupReport[] | null;
  /** Milliseconds since the epoch at which counting the keys began; null before the first count. */
  readonly countedAt: number | null;
  /** Number of workers. Requests and watches are those of one. */
  readonly workers: number;
}

export interface ErrorReport {
  readonly error: string;
}
