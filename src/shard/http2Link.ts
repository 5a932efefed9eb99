import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { ClientConnection, type ClientEvents } from "../http2/client.js";
import type { ConnectionLimits } from "../http2/limits.js";
import { readIntoSlabs } from "../http2/readSlabs.js";
import { SharedBytes } from "../stats/connections.js";
import type { EndpointAddress } from "./address.js";
import { connectionReason } from "./errors.js";
import type { CallListener, Link, LinkCall, LinkEvents } from "./link.js";
import type { ShardTlsContext } from "./tls.js";

/** Most bytes of large answers in flight from all shards together, a little more than the largest answer of an etcd. */
const MAX_ANSWER_BYTES = 2 ** 31;
const answers = new SharedBytes();

const LIMITS: ConnectionLimits = {
  maxStreams: 0,
  streamWindow: 4 * 1024 * 1024,
  connectionWindow: 64 * 1024 * 1024,
  maxHeaderBytes: 64 * 1024,
  maxBufferedBytes: Number.POSITIVE_INFINITY,
  maxBufferedTotal: MAX_ANSWER_BYTES,
  // Answers to writes, and events, must always get through.
  freeMessageBytes: 4 * 1024 * 1024,
  // The sizes that a shard announces can be trusted.
  messageRoom: 4 * 1024 * 1024,
  maxQueuedBytes: Number.POSITIVE_INFINITY,
  maxQueuedTotal: Number.POSITIVE_INFINITY,
  // etcd closes connections that ping more often than every 5 s, or without a call in flight.
  pingIntervalMs: 6_000,
  pingTimeoutMs: 3_000,
  pingOnlyWithStreams: true,
};

/** Reconnection backoff, short so that a restarted etcd is soon in use again. */
const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 1_000;
/** How long one attempt to connect may take. The kernel would retry at growing intervals. */
const CONNECT_TIMEOUT_MS = 2_500;
/** A connected endpoint that sends nothing is reported after the first of these, and given up after the second. */
const SILENCE_REPORT_MS = 1_500;
const HANDSHAKE_TIMEOUT_MS = 20_000;

/** A link over our own HTTP/2. */
export class Http2Link implements Link {
  private socket: Socket | undefined;
  private connection: ClientConnection | undefined;
  /** Connections that only finish their calls in flight. */
  private readonly draining = new Set<ClientConnection>();
  private wanted = false;
  private closed = false;
  private backoffMs = MIN_BACKOFF_MS;
  /** Why TLS failed on the latest connection, if it did. */
  private problem: string | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly address: EndpointAddress,
    private readonly tls: ShardTlsContext | undefined,
    private readonly events: LinkEvents,
  ) {}

  get ready(): boolean {
    return this.connection?.ready ?? false;
  }

  connect(): void {
    if (this.wanted || this.closed) return;
    this.wanted = true;
    this.attempt();
  }

  begin(
    path: string,
    metadata: Readonly<Record<string, string>> | undefined,
    listener: CallListener,
  ): LinkCall {
    return this.connection!.begin(path, metadata, listener);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket?.destroy();
    const { connection } = this;
    this.connection = undefined;
    // Later, so that `Client.close` can first end the calls with its own error.
    process.nextTick(() => {
      for (const each of [connection, ...this.draining]) each?.destroy("closed");
    });
  }

  private attempt(): void {
    if (this.closed) return;
    const { address, tls } = this;
    this.problem = undefined;
    let connection: ClientConnection | undefined;
    const socket: Socket =
      tls === undefined
        ? connect({
            ...address.socket,
            noDelay: true,
            onread: readIntoSlabs((piece) => connection?.take(piece) ?? false),
          })
        : connectTls({ ...address.socket, ...tls.connectOptions(address.host) });
    this.socket = socket;
    const fail = (reason: string) => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      clearTimeout(this.timer);
      socket.destroy();
      this.retry(reason);
    };
    socket.on("error", (error) => {
      // A server may refuse our certificate after our side of the handshake is done.
      this.problem = tls?.problem(error, address.host, this.socket !== socket);
      fail(this.problem ?? connectionReason(error.message));
    });
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      if (this.socket !== socket) return;
      clearTimeout(this.timer);
      this.socket = undefined;
      connection = this.handshake(socket);
    });
    this.timer = setTimeout(() => fail("no answer"), CONNECT_TIMEOUT_MS).unref();
    this.events.changed("connecting");
  }

  private handshake(socket: Socket): ClientConnection {
    let isReady = false;
    answers.connections++;
    const { label } = this.address;
    const authority = label.startsWith("unix:") ? "localhost" : label;
    const events: ClientEvents = {
      ready: () => {
        isReady = true;
        clearTimeout(this.timer);
        if (this.connection !== connection) return;
        this.backoffMs = MIN_BACKOFF_MS;
        this.events.changed("ready");
      },
      heard: () => this.events.heard(),
      draining: () => {
        if (this.connection !== connection) return;
        clearTimeout(this.timer);
        this.draining.add(connection);
        this.connection = undefined;
        this.attempt();
      },
      closed: (reason) => {
        answers.connections--;
        this.draining.delete(connection);
        if (this.connection !== connection) return;
        this.connection = undefined;
        clearTimeout(this.timer);
        this.retry(isReady ? connectionReason(reason) : this.earlyEnd());
      },
    };
    const connection = new ClientConnection(socket, LIMITS, authority, "etcd-braid", events, answers);
    this.connection = connection;
    this.timer = setTimeout(() => {
      this.events.changed("connecting", "accepts connections but does not answer");
      const giveUp = () => connection.destroy("no answer");
      this.timer = setTimeout(giveUp, HANDSHAKE_TIMEOUT_MS - SILENCE_REPORT_MS).unref();
    }, SILENCE_REPORT_MS).unref();
    return connection;
  }

  /** Why a connection was closed before the endpoint sent anything. */
  private earlyEnd(): string {
    if (this.problem !== undefined) return this.problem;
    if (this.tls === undefined)
      return "connection closed during setup (if the endpoint speaks TLS, write https://)";
    return "connection closed right after the TLS handshake (is a client certificate missing or not accepted?)";
  }

  private retry(reason: string): void {
    if (this.closed) return;
    // Jitter, so that many proxies do not reconnect to a restarted etcd at the same time.
    const delay = this.backoffMs * (0.8 + 0.4 * Math.random());
    this.backoffMs = Math.min(MAX_BACKOFF_MS, this.backoffMs * 1.6);
    this.timer = setTimeout(() => this.attempt(), delay).unref();
    this.events.changed("failed", reason);
  }
}
