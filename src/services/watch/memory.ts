import type { Usage } from "../../server/transport.js";
import type { SharedBytes } from "../../stats/connections.js";

/** What a watch costs on top of its keys, bytes. */
export const WATCH_COST = 1024;
/** Bytes for the watches of one connection: some 130,000 of them. */
const MAX_BYTES = 128 * 1024 * 1024;
/** The same of all connections together, for those that have more than their fair share. */
const MAX_TOTAL = 1024 * 1024 * 1024;

/** Counts what one stream's watches, and its requests that wait, cost. */
export class WatchMemory {
  private held = 0;

  constructor(
    private readonly connection: Usage,
    private readonly all: SharedBytes,
  ) {
    all.connections++;
  }

  /** False, and nothing is counted, when the stream's connection has too much already. */
  take(bytes: number): boolean {
    const { connection, all } = this;
    const total = connection.watchBytes + bytes;
    if (total > MAX_BYTES || all.isExceeded(MAX_TOTAL, total)) return false;
    this.add(bytes);
    return true;
  }

  giveBack(bytes: number): void {
    this.add(-bytes);
  }

  /** The stream has ended. */
  close(): void {
    this.add(-this.held);
    this.all.connections--;
  }

  private add(bytes: number): void {
    this.held += bytes;
    this.connection.watchBytes += bytes;
    this.all.bytes += bytes;
  }
}
