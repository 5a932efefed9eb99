import type { Activity } from "../processes.js";

/** What the load process is asked to do, and what it answers. Sent as JSON. */
export type Task = UnaryTask | HttpTask | FanoutTask;

interface Target {
  /** The server's port on the loopback interface. */
  readonly port: number;
  /** Processes whose processor time is measured: name → process id. */
  readonly pids: Readonly<Record<string, number>>;
  readonly milliseconds: number;
}

/** Requests one after another, `inFlight` at a time on each connection. */
export interface UnaryTask extends Target {
  readonly kind: "unary";
  /** The full method path. */
  readonly path: string;
  /** Base64 of the request messages, used in turn. */
  readonly requests: readonly string[];
  readonly connections: number;
  readonly inFlight: number;
  /** A response shorter than this, in bytes, counts as an error. */
  readonly leastBytes: number;
}

/** The same JSON request over and over, on many connections of HTTP/1.1, one at a time on each. */
export interface HttpTask extends Target {
  readonly kind: "http";
  readonly path: string;
  /** JSON. */
  readonly body: string;
  readonly connections: number;
  /** A response whose body is shorter than this, in bytes, counts as an error. */
  readonly leastBytes: number;
}

/** Watchers of one range, all of which get every write. */
export interface FanoutTask extends Target {
  readonly kind: "fanout";
  readonly prefix: string;
  /** How many keys below the prefix are written in turn. */
  readonly groups: number;
  readonly watchers: number;
  /** Watchers besides those, on a connection of their own that is not read any more. */
  readonly stalled: number;
  readonly connections: number;
  /** Watch streams on each connection, which share its watchers. */
  readonly streams: number;
  readonly writesPerSecond: number;
  readonly valueBytes: number;
}

export interface TaskResult {
  /** Requests answered, or events delivered. */
  readonly operations: number;
  readonly errors: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Processor time of each process, and of the load generator itself as `load`, microseconds. */
  readonly cpu: Readonly<Record<string, number>>;
  /** What each process did meanwhile. */
  readonly activity: Readonly<Record<string, Activity>>;
  /** Resident memory of each process at the end, bytes. */
  readonly memory: Readonly<Record<string, number>>;
  /** What each watcher has added to the resident memory of the proxy before it got any event, bytes. */
  readonly watcherBytes?: number;
}

export type TaskReply = { readonly result: TaskResult } | { readonly error: string };
