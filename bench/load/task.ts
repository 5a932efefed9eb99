import type { Activity } from "../processes.js";

/** A task for the load generator; `TaskReply` is its result. Both are sent as JSON. */
export type Task = UnaryTask | HttpTask | FanoutTask;

interface Target {
  /** The server's port on the loopback interface. */
  readonly port: number;
  /** Processes whose CPU time is measured: name → process id. */
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
  /** Watchers of all keys meanwhile, on a connection of their own. Their events are counted. */
  readonly watchers?: number;
}

/** Repeats one JSON request on many HTTP/1.1 connections, one at a time on each. */
export interface HttpTask extends Target {
  readonly kind: "http";
  readonly path: string;
  /** JSON. */
  readonly body: string;
  readonly connections: number;
  /** A response whose body is shorter than this, in bytes, counts as an error. */
  readonly leastBytes: number;
}

/** Watchers of one range, which all receive every write. */
export interface FanoutTask extends Target {
  readonly kind: "fanout";
  readonly prefix: string;
  /** Number of keys under the prefix that are written in turn. */
  readonly groups: number;
  readonly watchers: number;
  /** Number of additional watchers on a separate connection that is not read. */
  readonly stalled: number;
  readonly connections: number;
  /** Watch streams on each connection, which share its watchers. */
  readonly streams: number;
  readonly writesPerSecond: number;
  readonly valueBytes: number;
}

export interface TaskResult {
  /** Completed requests, or delivered events. */
  readonly operations: number;
  readonly errors: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time of each process, and of the load generator itself as `load`, in microseconds. */
  readonly cpu: Readonly<Record<string, number>>;
  /** Activity of each process in this time. */
  readonly activity: Readonly<Record<string, Activity>>;
  /** Resident memory of each process at the end, in bytes. */
  readonly memory: Readonly<Record<string, number>>;
  /** Increase of the proxy's resident memory per watcher before any event, in bytes. */
  readonly watcherBytes?: number;
  /** Events that the watchers beside the requests received. */
  readonly events?: number;
}

export type TaskReply = { readonly result: TaskResult } | { readonly error: string };
