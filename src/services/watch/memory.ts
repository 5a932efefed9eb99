import type { Usage } from "../../rpc/call.js";
import type { SharedBytes } from "../../stats/connections.js";
import type { KeyRange } from "../../wire/keyRange.js";

/** Cost of a watch without its keys, in bytes. */
export const WATCH_COST_BYTES = 1024;
/** Most bytes that the watches of one connection may cost: about 130,000 watches. */
const MAX_WATCH_BYTES = 128 * 1024 * 1024;
/** Most bytes of watch requests that may wait on one connection. */
const MAX_REQUEST_BYTES = 64 * 1024 * 1024;
/** Most bytes of both on all connections together. It applies to connections with more than their fair share. */
const MAX_TOTAL_BYTES = 1024 * 1024 * 1024;

/** Cost of a watch, in bytes. */
export const costOf = ({ key, rangeEnd }: KeyRange): number =>
  WATCH_COST_BYTES + key.length + rangeEnd.length;

/** Counts the cost of one stream's watches and waiting requests. */
export class WatchMemory {
  private watchBytes = 0;
  private requestBytes = 0;

  constructor(
    private readonly connection: Usage,
    private readonly all: SharedBytes,
  ) {
    all.connections++;
  }

  /** Counts a watch. Returns false, and does not count it, when its connection has too many. */
  addWatch(bytes: number): boolean {
    if (!this.hasRoom(bytes)) return false;
    this.countWatches(bytes);
    return true;
  }

  /** Whether `addWatch` would count a watch now. */
  hasRoom(bytes: number): boolean {
    const own = this.connection.watchBytes + bytes;
    return own <= MAX_WATCH_BYTES && !this.all.isExceeded(MAX_TOTAL_BYTES, own);
  }

  removeWatch(bytes: number): void {
    this.countWatches(-bytes);
  }

  /** Counts a waiting request. Returns false, and does not count it, when its connection has too many. */
  addRequest(bytes: number): boolean {
    const { connection, all } = this;
    const own = connection.requestBytes + bytes;
    if (own > MAX_REQUEST_BYTES || all.isExceeded(MAX_TOTAL_BYTES, own)) return false;
    this.countRequests(bytes);
    return true;
  }

  removeRequests(bytes: number): void {
    this.countRequests(-bytes);
  }

  /** Releases all that was counted when the stream ends. */
  close(): void {
    this.countWatches(-this.watchBytes);
    this.countRequests(-this.requestBytes);
    this.all.connections--;
  }

  private countWatches(bytes: number): void {
    this.watchBytes += bytes;
    this.connection.watchBytes += bytes;
    this.all.bytes += bytes;
  }

  private countRequests(bytes: number): void {
    this.requestBytes += bytes;
    this.connection.requestBytes += bytes;
    this.all.bytes += bytes;
  }
}
