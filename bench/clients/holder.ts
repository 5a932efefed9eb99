/*
 * Many clients in one process: each with a connection, a watch of one key, and a lease that it keeps alive. Controlled by the
 * messages of its parent, and ends with it.
 */
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  WatchRequest,
  WatchResponse,
} from "../../src/wire/messages.js";
import { Lease, Watch } from "../../src/wire/paths.js";
import { Connection } from "../load/connection.js";
import { grpcMessage } from "../load/unary.js";

/** What a holder is asked to do. */
export type HolderTask =
  /** Opens clients. Answered when all are served. */
  | {
      readonly kind: "open";
      readonly port: number;
      readonly clients: number;
      /** Of the clients of all holders, where these begin. */
      readonly first: number;
      readonly keys: number;
      readonly ttl: number;
      readonly ping: number;
    }
  /** Names the port to which clients go when they lose their connection. Answered when all have moved and are served. */
  | { readonly kind: "move"; readonly port: number }
  /** Answered with what the clients have seen so far. */
  | { readonly kind: "count" }
  | { readonly kind: "close" };

export interface HolderReply {
  /** Milliseconds since the epoch when the last client was served. */
  readonly at: number;
  /** Events that all clients have received, and how many of them came twice or in the wrong order, or came after a missing one. */
  readonly events: number;
  readonly wrong: number;
  /** Leases that had ended when their client wanted to keep them alive. */
  readonly leasesLost: number;
  /** The number in the newest event of each client; absent before its first event. */
  readonly newest: readonly (number | undefined)[];
}

/** Clients that may be connecting at the same time: more would only wait in the server's queue. */
const MOST_CONNECTING = 256;
const RETRY_MS = 100;

let port = 0;
let ttl = 0;
let clients: Client[] = [];
/** Clients that are served at `port`. */
let served = 0;
let waiting: (() => void) | undefined;
let events = 0;
let wrong = 0;
let leasesLost = 0;

const queue: Client[] = [];
let connecting = 0;

function connectLater(client: Client): void {
  queue.push(client);
  connectNext();
}

function connectNext(): void {
  while (connecting < MOST_CONNECTING && queue.length > 0) {
    const client = queue.shift()!;
    connecting++;
    client.connect().then(
      () => {
        connecting--;
        connectNext();
      },
      () => {
        connecting--;
        setTimeout(() => connectLater(client), RETRY_MS);
      },
    );
  }
}

/** Splits a stream into messages. */
function reader(take: (message: Uint8Array) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 5 && bytes.length - at >= 5 + bytes.readUInt32BE(at + 1)) {
      const end = at + 5 + bytes.readUInt32BE(at + 1);
      take(bytes.subarray(at + 5, end));
      at = end;
    }
    rest = at === bytes.length ? NOTHING : Buffer.from(bytes.subarray(at));
  };
}

const NOTHING = Buffer.alloc(0);

class Client {
  newest: number | undefined;
  private connection: Connection | undefined;
  private connectedTo = 0;
  private lease = 0n;
  private nextRevision = 0;
  private keepAlive: (() => void) | undefined;
  /** Set until it is served. */
  private fail: ((error: Error) => void) | undefined;
  private watches = false;
  private isAlive = false;

  constructor(private readonly key: Buffer) {}

  /** Resolves when it is served, and rejects if the connection is lost before. */
  async connect(): Promise<void> {
    const to = port;
    const connection = await Connection.open(to, Watch.Watch, () => this.lost(connection));
    this.connection = connection;
    this.connectedTo = to;
    const lost = () => this.lost(connection);
    await new Promise<void>((resolve, reject) => {
      this.fail = reject;
      const served = () => {
        if (!this.watches || !this.isAlive || this.fail === undefined) return;
        this.fail = undefined;
        resolve();
        if (to === port) servedOne();
      };
      this.watch(connection, served, lost);
      if (this.lease !== 0n) this.stayAlive(connection, served, lost);
      else this.grant(connection, () => this.stayAlive(connection, served, lost), lost);
    });
  }

  ping(): void {
    this.connection?.ping();
  }

  renew(): void {
    this.keepAlive?.();
  }

  close(): void {
    this.connection?.close();
  }

  private lost(connection: Connection): void {
    if (this.connection !== connection) return;
    connection.close();
    this.connection = undefined;
    this.keepAlive = undefined;
    this.watches = false;
    this.isAlive = false;
    const { fail } = this;
    this.fail = undefined;
    if (fail !== undefined) fail(new Error("the connection was lost"));
    else {
      if (this.connectedTo === port) served--;
      connectLater(this);
    }
  }

  private watch(connection: Connection, served: () => void, failed: () => void): void {
    const take = reader((message) => {
      const response = WatchResponse.decode(message);
      if (response.canceled) return failed();
      if (response.created) {
        this.watches = true;
        if (this.nextRevision === 0) this.nextRevision = (response.header?.revision ?? 0) + 1;
        served();
      }
      for (const { kv } of response.events) {
        if (kv === undefined) continue;
        const n = Number(Buffer.from(kv.value).toString("latin1"));
        events++;
        if (this.newest !== undefined && n !== this.newest + 1) wrong++;
        this.newest = n;
        this.nextRevision = kv.modRevision + 1;
      }
    });
    const stream = connection.start({ data: take, end: failed }, Watch.Watch);
    const request = { key: this.key, startRevision: this.nextRevision };
    connection.send(stream, grpcMessage(WatchRequest.encode({ kind: "create", request })), false);
  }

  private grant(connection: Connection, granted: () => void, failed: () => void): void {
    const take = reader((message) => {
      this.lease = LeaseGrantResponse.decode(message).id;
      granted();
    });
    const end = () => {
      if (this.lease === 0n) failed();
    };
    const stream = connection.start({ data: take, end }, Lease.LeaseGrant);
    connection.send(stream, grpcMessage(LeaseGrantRequest.encode({ ttl })), true);
  }

  private stayAlive(connection: Connection, served: () => void, failed: () => void): void {
    const take = reader((message) => {
      if (LeaseKeepAliveResponse.decode(message).ttl <= 0) leasesLost++;
      if (this.isAlive) return;
      this.isAlive = true;
      served();
    });
    const stream = connection.start({ data: take, end: failed }, Lease.LeaseKeepAlive);
    const request = grpcMessage(LeaseKeepAliveRequest.encode({ id: this.lease }));
    this.keepAlive = () => connection.send(stream, request, false);
    this.keepAlive();
  }
}

function servedOne(): void {
  served++;
  if (served < clients.length) return;
  waiting?.();
  waiting = undefined;
}

const allServed = (): Promise<void> =>
  new Promise((resolve) => {
    served = 0;
    waiting = resolve;
  });

/** Calls `act` for every client once in `seconds`, evenly over that time. */
function each(seconds: number, act: (client: Client) => void): void {
  if (seconds === 0) return;
  let at = 0;
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    let due = Math.floor(((now - last) / 1_000 / seconds) * clients.length);
    if (due === 0) return;
    last += (due * seconds * 1_000) / clients.length;
    for (; due > 0; due--) act(clients[at++ % clients.length]);
  }, 10);
}

async function run(task: HolderTask): Promise<void> {
  switch (task.kind) {
    case "open":
      port = task.port;
      ttl = task.ttl;
      clients = Array.from(
        { length: task.clients },
        (_, i) => new Client(Buffer.from(`/watched/${(task.first + i) % task.keys}`)),
      );
      {
        const done = allServed();
        for (const client of clients) connectLater(client);
        await done;
      }
      each(task.ttl / 3, (client) => client.renew());
      each(task.ping, (client) => client.ping());
      return;
    case "move":
      port = task.port;
      await allServed();
      return;
    case "count":
      return;
    case "close":
      for (const client of clients) client.close();
      clients = [];
  }
}

process.on("disconnect", () => process.exit(0));
process.on("message", async (task: HolderTask) => {
  await run(task);
  const reply: HolderReply = {
    at: Date.now(),
    events,
    wrong,
    leasesLost,
    newest: clients.map(({ newest }) => newest),
  };
  process.send?.(reply);
});
