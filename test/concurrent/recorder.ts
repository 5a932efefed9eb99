import { performance } from "node:perf_hooks";
import { EtcdClient, type Answer as Reply } from "../differential/client.js";
import { toCall, toOutcome } from "./codec.js";
import type { Call, Op, Outcome } from "./history.js";

/**
 * A connection for each client, so that clients of one proxy are with different workers. A proxy that was away is looked for
 * again soon: it is back within a second or two.
 */
export const CHANNEL = {
  "grpc.use_local_subchannel_pool": 1,
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 300,
};

/** Wait after a failure, ms: the time in which a user's client would look around. */
const AFTER_FAILURE = 30;

/** One client: one call after the other, each recorded; it moves to the next proxy when the one it uses fails. */
export class Recorder {
  private readonly clients: readonly EtcdClient[];

  constructor(
    readonly name: string,
    endpoints: readonly string[],
    private proxy: number,
    /** The calls of all clients. */
    private readonly calls: Call[],
  ) {
    this.clients = endpoints.map((endpoint) => new EtcdClient(endpoint, CHANNEL));
  }

  async call(op: Op): Promise<Outcome> {
    const { proxy, name, calls } = this;
    const client = this.clients[proxy];
    const invoked = performance.now();
    const reply = op.kind === "keepAlive" ? await keepAlive(client, op.id) : await client.call(...toCall(op));
    const returned = performance.now();
    const outcome = toOutcome(op, reply);
    calls.push({ id: calls.length, client: name, proxy, op, invoked, returned, outcome });
    if (outcome.kind !== "answered" && outcome.code === UNAVAILABLE) {
      // Behind the proxy it is the shard that is away: another proxy has none either.
      if (!/shard "/.test(outcome.message)) this.proxy = (proxy + 1) % this.clients.length;
      await pause(AFTER_FAILURE);
    }
    return outcome;
  }

  close(): void {
    for (const client of this.clients) client.close();
  }
}

const UNAVAILABLE = 14;

async function keepAlive(client: EtcdClient, id: string): Promise<Reply> {
  const reply = await client.keepAlive([{ ID: id }]);
  const answers = reply.response?.answers as Reply["response"][] | undefined;
  if (answers?.[0] !== undefined) return { ...reply, response: answers[0] };
  return { code: reply.code || UNAVAILABLE, message: reply.message, response: undefined };
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
