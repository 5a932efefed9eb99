import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import type { Runtime } from "../turn/runtime.js";
import { KV, Lease } from "../wire/paths.js";
import { PROBE } from "../wire/probe.js";
import { peekHeader, peekRevision } from "../wire/rewrite.js";
import { isDenied } from "./access.js";
import type { ShardClient } from "./client.js";
import { unsent } from "./errors.js";
import { describeShard } from "./name.js";
import type { CallOptions, Done, Shard, ShardStream, StreamEvents, StreamOptions } from "./shard.js";

export interface GuardedShard extends Shard {
  /**
   * Reads the shard's revision, linearizably. Rejects with DATA_LOSS when it is below what was sealed, with
   * FAILED_PRECONDITION when it is another cluster, and with what the read fails with otherwise.
   */
  verify(): Promise<void>;
}

/** Tells whether the cluster that answers is the shard. */
export interface Recognition {
  /** A linearizable Range whose answer tells it. */
  readonly request: Uint8Array;
  /** Resolves to why the shard is refused for good. Rejects when that can not be found out now. */
  judge(response: Uint8Array): Promise<StatusError | undefined>;
}

/**
 * A shard that is refused once it has lost data: when it answers a linearizable request with a revision below
 * `sealed()` as it was when the request was sent, or comes back as a cluster with another id than `clusterId()`
 * (decimal; undefined while it is not known), or is refused by `recognition`. From then on every call and stream fails with DATA_LOSS; only
 * a new proxy looks again.
 *
 * Before the first request, and again after the connection was lost, the shard's revision is read before anything
 * else goes there, so that an etcd that came back with older data gets no write. Reads that may lag do not wait for
 * that.
 */
export function guardShard(
  shard: Shard & Pick<ShardClient, "onDisconnect">,
  sealed: () => number,
  clusterId: () => string | undefined,
  runtime: Runtime,
  recognition: Recognition = ANY_CLUSTER,
): GuardedShard {
  return new Guard(shard, sealed, clusterId, runtime, recognition);
}

/** Answered through the shard's log (unless the call may lag), with the revision after it in the header. */
const LINEARIZABLE: ReadonlySet<string> = new Set([
  KV.Range,
  KV.Put,
  KV.DeleteRange,
  KV.Txn,
  KV.Compact,
  Lease.LeaseGrant,
  Lease.LeaseRevoke,
]);

const EMPTY = new Uint8Array(0);
/** Pause before a shard with open streams that could not be asked is asked again, ms. */
const PROBE_RETRY_MS = 1_000;
/** Any key will do; this one is nobody's. */
const ANY_CLUSTER: Recognition = {
  request: PROBE,
  judge: async () => undefined,
};

class Guard implements GuardedShard {
  readonly index: number;
  readonly name: string;
  private loss: StatusError | undefined;
  /** The shard may have been exchanged since it was last heard of. */
  private suspect = true;
  /** How often there was a reason to suspect it. */
  private suspicions = 0;
  private probing: ((error: StatusError | undefined) => void)[] | undefined;
  private readonly streams = new Set<{ end(error: StatusError): void }>();

  constructor(
    private readonly shard: Shard & Pick<ShardClient, "onDisconnect">,
    private readonly sealed: () => number,
    private readonly clusterId: () => string | undefined,
    private readonly runtime: Runtime,
    private readonly recognition: Recognition,
  ) {
    shard.onDisconnect(() => this.suspectAgain());
    this.index = shard.index;
    this.name = shard.name;
  }

  unary(path: string, request: Uint8Array, options: CallOptions, done: Done): () => void {
    if (this.loss === undefined && (!this.suspect || options.mayLag)) {
      return this.forward(path, request, options, done);
    }
    let cancelled = false;
    let cancel = () => {
      cancelled = true;
    };
    this.probe((error) => {
      if (cancelled) return;
      if (error !== undefined) done(unsent(error, options), EMPTY);
      else cancel = this.forward(path, request, options, done);
    });
    return () => cancel();
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
    if (this.loss !== undefined) return refusedStream(this.loss, events);
    let ended = false;
    const end = () => {
      ended = true;
      this.streams.delete(entry);
    };
    const listener: StreamEvents = {
      message: (message) => {
        if (!ended) events.message(message);
      },
      closed: (error) => {
        if (ended) return;
        end();
        // A client that may not do something must not make the guard ask.
        if (!isDenied(error)) this.suspectAgain();
        events.closed(error);
      },
    };
    const stream = this.shard.stream(path, listener, options);
    const entry = {
      end: (error: StatusError) => {
        end();
        stream.cancel();
        events.closed(error);
      },
    };
    this.streams.add(entry);
    // A stream says nothing of what the shard has lost, so it is asked besides.
    if (this.suspect) this.probeForStreams();
    return {
      send: (message, last) => stream.send(message, last),
      pause: () => stream.pause(),
      resume: () => stream.resume(),
      cancel: () => {
        end();
        stream.cancel();
      },
    };
  }

  /** Asks until there is an answer, for as long as there are streams that would not notice a loss. */
  private probeForStreams(): void {
    this.probe((error) => {
      if (error === undefined || this.loss !== undefined || this.streams.size === 0) return;
      const again = () => {
        if (this.suspect && this.streams.size > 0) this.probeForStreams();
      };
      this.runtime.timer(PROBE_RETRY_MS, again, true);
    });
  }

  verify(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.probe((error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  close(): void {
    this.shard.close();
  }

  private forward(path: string, request: Uint8Array, options: CallOptions, done: Done): () => void {
    if (options.mayLag || !LINEARIZABLE.has(path)) {
      return this.shard.unary(path, request, options, (error, response) => {
        this.note(error);
        done(this.loss ?? error, response);
      });
    }
    const least = this.sealed();
    let cancelled = false;
    const cancel = this.shard.unary(path, request, options, (error, response) => {
      this.note(error);
      if (error === undefined) this.compare(response, least);
      if (!etcd.futureRevision.is(error)) {
        done(this.loss ?? error, response);
        return;
      }
      // What the timeline has sealed cannot be in the future: either the client named a revision of its own, or
      // the shard lost it.
      this.probe((probed) => {
        if (!cancelled) done(probed ?? error, EMPTY);
      });
    });
    return () => {
      cancelled = true;
      cancel();
    };
  }

  private note(error: StatusError | undefined): void {
    if (error?.code === Code.UNAVAILABLE && !error.message.startsWith("etcdserver:")) this.suspectAgain();
  }

  private suspectAgain(): void {
    this.suspect = true;
    this.suspicions++;
  }

  /** Reads the shard's revision, once for all who ask meanwhile. Never calls `done` before it returns. */
  private probe(done: (error: StatusError | undefined) => void): void {
    if (this.loss !== undefined) {
      process.nextTick(done, this.loss);
      return;
    }
    if (this.probing !== undefined) {
      this.probing.push(done);
      return;
    }
    this.probing = [done];
    const least = this.sealed();
    this.shard.unary(KV.Range, this.recognition.request, { idempotent: true }, (error, response) => {
      if (error !== undefined) {
        this.probed(error);
        return;
      }
      const { suspicions } = this;
      this.recognise(response);
      this.compare(response, least);
      if (this.loss !== undefined) {
        this.probed(undefined);
        return;
      }
      this.recognition.judge(response).then(
        (refusal) => {
          if (refusal !== undefined) this.refuse(refusal);
          // What was lost meanwhile may have come back as another etcd.
          this.suspect = this.suspicions !== suspicions;
          this.probed(undefined);
        },
        (reason) => this.probed(StatusError.from(reason)),
      );
    });
  }

  private probed(error: StatusError | undefined): void {
    if (error !== undefined) this.suspect = true;
    const waiting = this.probing ?? [];
    this.probing = undefined;
    for (const each of waiting) each(this.loss ?? error);
  }

  private compare(response: Uint8Array, least: number): void {
    const revision = peekRevision(response);
    if (revision >= least || this.loss !== undefined) return;
    this.refuse(
      new StatusError(
        Code.DATA_LOSS,
        `${describeShard(this)} answers revision ${revision} below ${least} that the timeline has sealed: ` +
          "it lost data (restored from a backup, or started with another data directory); " +
          "give it its newest data back and restart the proxies",
      ),
    );
  }

  private recognise(response: Uint8Array): void {
    const expected = this.clusterId();
    const found = peekHeader(response).clusterId.toString();
    if (expected === undefined || found === expected || this.loss !== undefined) return;
    this.refuse(
      new StatusError(
        Code.FAILED_PRECONDITION,
        `${describeShard(this)} is the etcd cluster ${found}, but the store was made with cluster ${expected}: ` +
          "look at the shard's endpoints; if the cluster was rebuilt from its newest data, " +
          `make it known with \`braid adopt ${this.name}\``,
      ),
    );
  }

  private refuse(error: StatusError): void {
    this.loss = error;
    for (const stream of [...this.streams]) stream.end(error);
  }
}

/** A stream to a shard that is refused. */
function refusedStream(loss: StatusError, events: StreamEvents): ShardStream {
  let cancelled = false;
  process.nextTick(() => {
    if (!cancelled) events.closed(loss);
  });
  return {
    send: () => {},
    pause: () => {},
    resume: () => {},
    cancel: () => {
      cancelled = true;
    },
  };
}
