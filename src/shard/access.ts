import type { CallStats } from "../stats/methods.js";
import { StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { Watch } from "../wire/paths.js";
import { decodeWatch } from "../wire/watch.js";
import type { Access, AccessProblem, Caller, CallMetadata } from "./caller.js";
import type { ShardClient } from "./client.js";
import type { EndpointHealth } from "./endpoint.js";
import { unsent } from "./errors.js";
import type { CallOptions, Done, ShardStream, StreamEvents, StreamOptions } from "./shard.js";

/** Most attempts of one call. Reached only while users and roles keep changing. */
const MAX_ATTEMPTS = 5;
const EMPTY = new Uint8Array(0);

/**
 * Wraps a shard so that calls carry their caller's token; the proxy's own calls carry that of `own`. A call that
 * was refused for its token was certainly not carried out, so it is sent again with a new one. On a timeline host
 * that is not a shard, all calls carry the token of `own`: clients have no users there.
 */
export function withAccess(shard: ShardClient, own: Caller): ShardClient {
  return new AccessShard(shard, own);
}

class AccessShard implements ShardClient {
  readonly index: number;
  readonly name: string;
  /** Merged metadata of a token and of calls, one object for each pair in use. */
  private readonly merged = new WeakMap<CallMetadata, WeakMap<CallMetadata, CallMetadata>>();

  constructor(
    private readonly shard: ShardClient,
    private readonly own: Caller,
  ) {
    this.index = shard.index;
    this.name = shard.name;
  }

  unary(path: string, request: Uint8Array, options: CallOptions, done: Done): () => void {
    const access = this.accessOf(options.caller);
    let cancelled = false;
    let cancel = () => {};
    let attempts = 0;
    const renew = (problem?: AccessProblem, refused?: CallMetadata, refusal?: StatusError) => {
      access.renew(refused, problem).then(
        (again) => {
          if (cancelled) return;
          if (again) send();
          else done(refusal ?? etcd.invalidAuthToken(), EMPTY);
        },
        (reason) => {
          if (!cancelled) done(unsent(StatusError.from(reason), options), EMPTY);
        },
      );
    };
    const send = () => {
      const { metadata } = access;
      if (metadata === undefined) {
        renew();
        return;
      }
      attempts++;
      const sent = { ...options, metadata: this.merge(options.metadata, metadata) };
      cancel = this.shard.unary(path, request, sent, (error, response) => {
        const problem = error === undefined ? undefined : problemOf(error.message, metadata);
        if (problem === undefined || attempts === MAX_ATTEMPTS) done(error, response);
        else renew(problem, metadata, error);
      });
    };
    send();
    return () => {
      cancelled = true;
      cancel();
    };
  }

  reloadCertificates(): void {
    this.shard.reloadCertificates();
  }

  get certificateExpiresAt(): number {
    return this.shard.certificateExpiresAt;
  }

  call(path: string, request: Uint8Array, options: CallOptions): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.unary(path, request, options, (error, response) => {
        if (error === undefined) resolve(response);
        else reject(error);
      });
    });
  }

  stream(path: string, events: StreamEvents, options?: StreamOptions): ShardStream {
    return new AccessStream(this.shard, path, events, this.accessOf(options?.caller));
  }

  get stats(): CallStats {
    return this.shard.stats;
  }

  get openStreams(): number {
    return this.shard.openStreams;
  }

  get isConnected(): boolean {
    return this.shard.isConnected;
  }

  endpoints(): EndpointHealth[] {
    return this.shard.endpoints();
  }

  onDisconnect(listener: () => void): void {
    this.shard.onDisconnect(listener);
  }

  close(): void {
    this.shard.close();
  }

  private accessOf(caller: Caller | undefined): Access {
    return (this.index < 0 ? this.own : (caller ?? this.own)).access(this.index);
  }

  private merge(given: CallMetadata | undefined, token: CallMetadata): CallMetadata {
    if (given === undefined) return token;
    let ofToken = this.merged.get(token);
    if (ofToken === undefined) {
      ofToken = new WeakMap();
      this.merged.set(token, ofToken);
    }
    let both = ofToken.get(given);
    if (both === undefined) {
      both = { ...given, ...token };
      ofToken.set(given, both);
    }
    return both;
  }
}

/**
 * A stream with its caller's token. etcd checks the token at the first request. If it refuses that, the stream is
 * opened again with a new token, and all requests are sent again.
 */
class AccessStream implements ShardStream {
  private stream: ShardStream | undefined;
  /** All messages sent before the first answer. After it, none is sent again. */
  private sent: { message: Uint8Array; last: boolean }[] | undefined = [];
  private attempts = 0;
  private paused = false;
  private closed = false;

  constructor(
    private readonly shard: ShardClient,
    private readonly path: string,
    private readonly events: StreamEvents,
    private readonly access: Access,
  ) {
    this.open();
  }

  send(message: Uint8Array, last = false): void {
    if (this.closed) return;
    this.sent?.push({ message, last });
    this.stream?.send(message, last);
  }

  pause(): void {
    this.paused = true;
    this.stream?.pause();
  }

  resume(): void {
    this.paused = false;
    this.stream?.resume();
  }

  cancel(): void {
    this.closed = true;
    this.sent = undefined;
    this.stream?.cancel();
  }

  private open(): void {
    const { metadata } = this.access;
    if (metadata === undefined) {
      this.renew();
      return;
    }
    this.attempts++;
    const stream = this.shard.stream(
      this.path,
      {
        message: (message) => {
          if (this.stream === stream) this.receive(message, metadata);
        },
        closed: (error) => {
          if (this.stream !== stream || this.closed) return;
          const problem = this.sent === undefined ? undefined : problemOf(error.message, metadata);
          if (problem === undefined || this.attempts === MAX_ATTEMPTS) this.fail(error);
          else this.renew(problem, metadata, () => this.fail(error));
        },
      },
      { metadata },
    );
    this.stream = stream;
    for (const { message, last } of this.sent ?? []) stream.send(message, last);
    if (this.paused) stream.pause();
  }

  private receive(message: Uint8Array, metadata: CallMetadata): void {
    if (this.closed) return;
    const problem = this.sent === undefined ? undefined : this.refusal(message, metadata);
    const deliver = () => {
      this.sent = undefined;
      this.events.message(message);
    };
    if (problem === undefined || this.attempts === MAX_ATTEMPTS) {
      deliver();
      return;
    }
    this.stream?.cancel();
    this.renew(problem, metadata, deliver);
  }

  private refusal(message: Uint8Array, metadata: CallMetadata): AccessProblem | undefined {
    if (this.path !== Watch.Watch) return undefined;
    const { canceled, cancelReason } = decodeWatch(message);
    return canceled ? problemOf(cancelReason, metadata) : undefined;
  }

  /** Opens the stream again with a new token. `stands` passes on the refusal if there is none. */
  private renew(problem?: AccessProblem, refused?: CallMetadata, stands?: () => void): void {
    this.stream = undefined;
    this.access.renew(refused, problem).then(
      (again) => {
        if (this.closed) return;
        if (again) this.open();
        else if (stands === undefined) this.fail(etcd.invalidAuthToken());
        else stands();
      },
      (reason) => {
        if (!this.closed) this.fail(StatusError.from(reason));
      },
    );
  }

  private fail(error: StatusError): void {
    this.closed = true;
    this.sent = undefined;
    this.events.closed(error);
  }
}

/**
 * Returns the problem that a refusal has with the token `sent` with it, if any. Maintenance calls and answers to
 * watches wrap etcd's texts, so only the ends are compared. Over a connection with a client certificate whose name
 * is not a user's, etcd reports a missing token as "permission denied".
 */
export function problemOf(text: string, sent?: CallMetadata): AccessProblem | undefined {
  for (const [problem, endings] of PROBLEMS) if (endings.some((end) => text.endsWith(end))) return problem;
  return sent !== undefined && sent.token === undefined && text.endsWith(DENIED) ? "missing" : undefined;
}

const ending = (error: StatusError): string => error.message.replace("etcdserver: ", "");

const PROBLEMS: readonly [AccessProblem, readonly string[]][] = [
  ["token", [ending(etcd.invalidAuthToken())]],
  ["stale", [ending(etcd.authOldRevision()), "revision in header is old"]],
  ["missing", [ending(etcd.userEmpty())]],
];

/** Returns whether a shard refused a call for its caller's token or permissions. The text may be wrapped. */
export function isDenied({ message }: { readonly message: string }): boolean {
  return problemOf(message) !== undefined || message.endsWith(DENIED);
}

const DENIED = ending(etcd.permissionDenied());

/** Returns whether the error says that the shard has authentication turned off. */
export function isAuthOff(error: StatusError): boolean {
  return etcd.authNotEnabled.is(error);
}
