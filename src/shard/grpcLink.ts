import { createRequire } from "node:module";
import { connect, isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate, type SecureContext } from "node:tls";
import type { Channel, connectivityState, Metadata } from "@grpc/grpc-js";
import { Code } from "../status/error.js";
import { departures } from "../turn/departures.js";
import { Maintenance } from "../wire/paths.js";
import type { EndpointAddress } from "./address.js";
import { classify, connectionReason, lastError, type RawStatus } from "./errors.js";
import type { CallListener, Link, LinkCall, LinkEvents } from "./link.js";
import type { ShardTlsContext } from "./tls.js";

type Call = ReturnType<Channel["createCall"]>;

/** Reconnection backoff, short so that a restarted etcd is soon in use again. grpc-js adds 20 % of jitter. */
const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 1000;
/** etcd closes connections that ping more often than every 5 s, or without a call in flight. */
const PING_INTERVAL_MS = 6000;
const PING_TIMEOUT_MS = 3000;
/** How often a connection that is not established is probed, and how long each probe may take. */
const PROBE_INTERVAL_MS = 1500;
const PROBE_TIMEOUT_MS = 1000;

const CHANNEL_OPTIONS = {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc.initial_reconnect_backoff_ms": MIN_BACKOFF_MS,
  "grpc.max_reconnect_backoff_ms": MAX_BACKOFF_MS,
  "grpc.dns_min_time_between_resolutions_ms": MAX_BACKOFF_MS,
  "grpc.keepalive_time_ms": PING_INTERVAL_MS,
  "grpc.keepalive_timeout_ms": PING_TIMEOUT_MS,
  "grpc.keepalive_permit_without_calls": 0,
  // One connection per channel: a new channel must not inherit the attempt of the channel that it replaces.
  "grpc.use_local_subchannel_pool": 1,
  // unaryCall.ts decides when calls are sent again.
  "grpc.enable_retries": 0,
  "grpc.enable_http_proxy": 0,
  "grpc.enable_channelz": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc-node.flow_control_window": 4 * 1024 * 1024,
} as const;

let library: typeof import("@grpc/grpc-js") | undefined;

/** Returns grpc-js. It takes several megabytes and most proxies do not use it, so the first link loads it. */
function grpc(): typeof import("@grpc/grpc-js") {
  library ??= createRequire(import.meta.url)("@grpc/grpc-js") as typeof import("@grpc/grpc-js");
  return library;
}

function toMetadata(fields: Readonly<Record<string, string>> | undefined): Metadata {
  const metadata = new (grpc().Metadata)();
  for (const [name, value] of Object.entries(fields ?? {})) metadata.set(name, value);
  return metadata;
}

/** Returns a Buffer over the same memory. */
function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A link over grpc-js. */
export class GrpcLink implements Link {
  private channel: Channel;
  private secureContext: SecureContext | undefined;
  private state: "idle" | "connecting" | "ready" | "failed" = "idle";
  private connecting = false;
  private closed = false;
  private probeTimer: NodeJS.Timeout | undefined;
  /** Whether the latest probe found the host reachable. */
  private reachable = true;

  constructor(
    private readonly address: EndpointAddress,
    private readonly tls: ShardTlsContext | undefined,
    private readonly events: LinkEvents,
  ) {
    this.secureContext = tls?.secureContext;
    this.channel = this.open();
  }

  get ready(): boolean {
    return !this.closed && this.channel.getConnectivityState(false) === grpc().connectivityState.READY;
  }

  connect(): void {
    if (this.connecting || this.closed) return;
    this.connecting = true;
    this.follow();
  }

  begin(
    path: string,
    metadata: Readonly<Record<string, string>> | undefined,
    listener: CallListener,
  ): LinkCall {
    const call = this.channel.createCall(path, Number.POSITIVE_INFINITY, null, null, null);
    const link = new GrpcLinkCall(call, listener);
    call.start(toMetadata(metadata), {
      onReceiveMetadata: () => this.events.heard(),
      onReceiveMessage: (message: Buffer) => {
        this.events.heard();
        link.message(message);
      },
      onReceiveStatus: (status) => {
        if (classify(status) === "etcd") this.events.heard();
        link.ended(status);
      },
    });
    link.resume();
    return link;
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.probeTimer);
    this.channel.close();
  }

  private open(): Channel {
    const { address, tls } = this;
    const { Channel, ChannelCredentials, credentials } = grpc();
    if (tls === undefined) return new Channel(address.target, credentials.createInsecure(), CHANNEL_OPTIONS);
    this.secureContext = tls.secureContext;
    const name = tls.nameFor(address.host);
    const verify = {
      rejectUnauthorized: tls.verifies,
      checkServerIdentity: (_host: string, certificate: PeerCertificate) =>
        checkServerIdentity(name, certificate),
    };
    return new Channel(
      address.target,
      ChannelCredentials.createFromSecureContext(this.secureContext, verify),
      {
        ...CHANNEL_OPTIONS,
        ...(isIP(name) ? {} : { "grpc.ssl_target_name_override": name }),
        "grpc.default_authority": address.label,
      },
    );
  }

  /** Whether the TLS files have changed since the channel was created. */
  private get outdated(): boolean {
    return this.tls !== undefined && this.tls.secureContext !== this.secureContext;
  }

  /** Follows the state of the current channel, and keeps it from idling. */
  private follow(): void {
    const channel = this.channel;
    if (this.closed) return;
    const state = channel.getConnectivityState(true);
    this.apply(state);
    channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => {
      if (this.channel === channel) this.follow();
    });
  }

  private apply(state: connectivityState): void {
    const { READY, TRANSIENT_FAILURE } = grpc().connectivityState;
    if (state === READY) {
      this.reachable = true;
      clearTimeout(this.probeTimer);
      this.probeTimer = undefined;
      this.become("ready");
      return;
    }
    this.probeTimer ??= setTimeout(() => this.probe(), PROBE_INTERVAL_MS).unref();
    if (state === TRANSIENT_FAILURE) {
      this.become("failed");
      this.askReason();
    } else if (this.state !== "failed") {
      this.become("connecting");
    }
  }

  private become(state: "connecting" | "ready" | "failed"): void {
    if (this.state === state) return;
    this.state = state;
    this.events.changed(state);
  }

  /** Finds out why a connection failed: grpc-js reports it only through a failing call. */
  private askReason(): void {
    const call = this.channel.createCall(Maintenance.Status, Number.POSITIVE_INFINITY, null, null, null);
    call.start(toMetadata(undefined), {
      onReceiveMetadata: () => {},
      onReceiveMessage: () => {},
      onReceiveStatus: (status) => {
        if (this.state === "failed" && status.code !== 1) {
          const reason = this.tls?.problem({ message: lastError(status.details) }, this.address.host, false);
          this.events.changed("failed", reason ?? connectionReason(status.details));
        }
      },
    });
    setImmediate(() => setImmediate(() => call.cancelWithStatus(1, "not needed any more")));
  }

  /**
   * Probes a connection that is not established. After a network outage, the kernel retries at growing intervals
   * of up to a minute, so a host that is reachable again gets a new connection. A host that was reachable all the
   * time, such as one whose etcd is frozen, does not: its pending connection is as good as a new one.
   */
  private probe(): void {
    this.probeTimer = undefined;
    if (this.outdated) {
      this.reopen();
      return;
    }
    const channel = this.channel;
    const socket = connect({ ...this.address.socket });
    const done = (reachable: boolean, reason: string) => {
      socket.destroy();
      if (this.closed || this.state === "ready" || this.channel !== channel) return;
      const back = reachable && !this.reachable;
      this.reachable = reachable;
      if (this.state !== "idle" && (this.state === "connecting" || !reachable)) {
        this.events.changed(this.state, reason);
      }
      this.probeTimer ??= setTimeout(() => this.probe(), PROBE_INTERVAL_MS).unref();
      if (back && this.state === "connecting") this.reopen();
    };
    socket.unref();
    socket.setTimeout(PROBE_TIMEOUT_MS, () => done(false, "no answer"));
    socket.once("connect", () => done(true, "accepts connections but does not answer"));
    socket.once("error", (error) => done(false, connectionReason(error.message)));
  }

  private reopen(): void {
    const old = this.channel;
    this.channel = this.open();
    old.close();
    this.follow();
  }
}

/** A call over grpc-js. It reads one message at a time, and sends one before the stream is open. */
class GrpcLinkCall implements LinkCall {
  private readonly outgoing: Uint8Array[] = [];
  private ending = false;
  private sending = false;
  private paused = true;
  /** True while grpc-js reads a message. */
  private reading = false;
  private over = false;

  constructor(
    private readonly call: Call,
    private readonly listener: CallListener,
  ) {}

  send(message: Uint8Array): void {
    if (this.over) return;
    // grpc-js may send it at once.
    departures.count++;
    this.outgoing.push(message);
    this.flush();
  }

  sendAndEnd(message: Uint8Array): void {
    this.ending = true;
    this.send(message);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.read();
  }

  cancel(): void {
    if (this.over) return;
    this.over = true;
    this.call.cancelWithStatus(Code.CANCELLED, "cancelled by the caller");
  }

  message(message: Buffer): void {
    this.reading = false;
    if (this.over) return;
    this.listener.message(message);
    this.read();
  }

  ended(status: RawStatus): void {
    if (this.over) return;
    this.over = true;
    this.listener.ended(status);
  }

  private read(): void {
    if (this.paused || this.reading || this.over) return;
    this.reading = true;
    this.call.startRead();
  }

  private flush(): void {
    if (this.sending || this.over) return;
    const message = this.outgoing.shift();
    if (message === undefined) return;
    this.sending = true;
    const callback = () => {
      this.sending = false;
      this.flush();
    };
    this.call.sendMessageWithContext({ callback }, toBuffer(message));
    if (this.ending && this.outgoing.length === 0) this.call.halfClose();
  }
}
