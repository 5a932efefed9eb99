import type { Router } from "../routing/router.js";
import { fromAsync, onRequest } from "../rpc/async.js";
import type { Call, Handlers, ServerStream, StreamHandler, UnaryHandler } from "../rpc/call.js";
import type { Service } from "../rpc/service.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import {
  CampaignRequest,
  CampaignResponse,
  type Codec,
  type Init,
  LeaderRequest,
  LeaderResponse,
  LockRequest,
  LockResponse,
  ProclaimRequest,
  ProclaimResponse,
  ResignRequest,
  ResignResponse,
  UnlockRequest,
  UnlockResponse,
} from "../wire/messages.js";
import { Election, Lock } from "../wire/paths.js";
import { Client } from "./recipes/client.js";
import { campaign, leaderNow, observe, proclaim, resign } from "./recipes/election.js";
import { lock, unlock } from "./recipes/lock.js";

export interface RecipeDeps {
  /** The handlers of KV, Lease and Watch for clients. They are called in the client's name. */
  readonly handlers: Handlers;
  readonly router: Pick<Router, "shardsOf">;
}

/** etcd's Lock and Election services, on top of the proxy's own KV, Lease and Watch. */
export function createRecipes({ handlers, router }: RecipeDeps): Service {
  const clients = new Set<Client>();
  let stopped = false;

  /** Runs `act` for the client of `call`. */
  async function serving<T>(call: Call, act: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client(handlers, call);
    if (stopped) client.leave(etcd.stopped());
    clients.add(client);
    try {
      return await act(client);
    } catch (reason) {
      throw asFromEtcd(StatusError.from(reason));
    } finally {
      client.close();
      clients.delete(client);
    }
  }

  function unary<Q, R>(
    request: Codec<Q>,
    response: Codec<R>,
    act: (client: Client, message: Q) => Promise<Init<R>>,
  ): UnaryHandler {
    const answer = async (call: Call, message: Q) =>
      response.encode(await serving(call, (client) => act(client, message)));
    // Copied, because the call may wait for long and would keep the whole buffer that its request was read into.
    return fromAsync(async (call, bytes) => answer(call, request.decode(Uint8Array.from(bytes))));
  }

  const observing: StreamHandler = (stream) => {
    const flow = new Flow(stream);
    onRequest(stream, (bytes) => {
      const request = LeaderRequest.decode(Uint8Array.from(bytes));
      const ended = serving(stream, async (client) => {
        for await (const leader of observe(client, request)) await flow.send(LeaderResponse.encode(leader));
      });
      ended.catch((reason) => stream.end(StatusError.from(reason)));
    });
  };

  return {
    unary: new Map([
      [Lock.Lock, unary(LockRequest, LockResponse, (client, message) => lock(client, message, router))],
      [Lock.Unlock, unary(UnlockRequest, UnlockResponse, unlock)],
      [Election.Campaign, unary(CampaignRequest, CampaignResponse, campaign)],
      [Election.Proclaim, unary(ProclaimRequest, ProclaimResponse, proclaim)],
      [Election.Leader, unary(LeaderRequest, LeaderResponse, leaderNow)],
      [Election.Resign, unary(ResignRequest, ResignResponse, resign)],
    ]),
    stream: new Map([[Election.Observe, observing]]),
    // Calls end with etcd's UNAVAILABLE of a server that stops. A client that waits for a lock leaves the queue first.
    drain: () => {
      stopped = true;
      for (const client of clients) client.leave(etcd.stopped());
    },
  };
}

/**
 * etcd implements these services as clients of the server, which turns the codes of its errors into UNKNOWN. Here that does not
 * apply to errors that clients should retry, and to the proxy's own errors.
 */
function asFromEtcd(error: StatusError): StatusError {
  const kept = error.code === Code.UNAVAILABLE || !error.message.startsWith("etcdserver: ");
  return kept ? error : new StatusError(Code.UNKNOWN, error.message, { cause: error });
}

/** Sends no faster than a stream's client reads. */
class Flow {
  private drained: (() => void) | undefined;

  constructor(private readonly stream: ServerStream) {
    stream.onDrain(() => this.drained?.());
    stream.onCancel(() => this.drained?.());
  }

  /** Sends a message. Resolves when more may be sent. */
  async send(message: Uint8Array): Promise<void> {
    if (this.stream.send([message]) || this.stream.cancelled) return;
    await new Promise<void>((resolve) => {
      this.drained = resolve;
    });
  }
}
