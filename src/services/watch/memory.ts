import type { Usage } from "../../rpc/call.js";
import type { SharedBytes } from "../../stats/connections.js";

/** What a watch costs on top of its keys, bytes. */
export const WATCH_COST = 1024;
/** Bytes that the watches of one connection may cost: some 130,000 of them. */
const MAX_WATCH_BYTES = 128 * 1024 * 1024;
/** Bytes of watch requests that may wait on one connection. */
const MAX_REQUEST_BYTES = 64 * 1024 * 1024;
/** Bytes of both on all connections together, for connections that have more than their fair share. */
const MAX_TOTAL = 1024 * 1024 * 1024;

/** Counts what one stream's watches cost, and its requests that wait. */
export class WatchMemory {
  private watchBytes = 0;
  private requestBytes = 0;

  constructor(
    private readonly connection: Usage,
    private readonly all: SharedBytes,
  ) {
    all.connections++;
  }

  /** Counts a watch; false, and it is not counted, when its connection has too many. */
  addWatch(bytes: number): boolean {
    const { connection, all } = this;
    const own = connection.watchBytes + bytes;
    if (own > MAX_WATCH_BYTES || all.isExceeded(MAX_TOTAL, own)) return false;
    this.countWatches(bytes);
    return true;
  }

  removeWatch(bytes: number): void {
    this.countWatches(-bytes);
  }

  /** Counts a request that waits; false, and it is not counted, when its connection has too many. */
  addRequest(bytes: number): boolean {
    const { connection, all } = this;
    const own = connection.requestBytes + bytes;
    if (own > MAX_REQUEST_BYTES || all.isExceeded(MAX_TOTAL, own)) return false;
    this.countRequests(bytes);
    return true;
  }

  removeRequests(bytes: number): void {
    this.countRequests(-bytes);
  }

  /** The stream has ended. */
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
