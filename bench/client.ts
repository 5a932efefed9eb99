import { openShard, type ShardClient } from "../src/shard/client.js";

/** A client of one server at `endpoint`, which logs nothing. `name` is for errors. */
export const openClient = (endpoint: string, name: string, index = 0): ShardClient =>
  openShard({
    index,
    name,
    endpoints: [endpoint],
    requestTimeoutMs: 60_000,
    connectTimeoutMs: 10_000,
    log: { debug() {}, info() {}, warn() {} },
  });
