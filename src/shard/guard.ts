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
import { refusedStream } from "./refusedStream.js";
import type { CallOptions, Done, Shard, ShardStream, StreamEvents, StreamOptions } from "./shard.js";

export interface GuardedShard extends Shard {
  /**
   * Checks the shard by a linearizable read of its revision. Rejects with DATA_LOSS if the revision is below one that was
   * sealed, with FAILED_PRECONDITION if the shard is another cluster, and otherwise with the error of the read.
   */
  verify(): Promise<void>;
  /** Refuses the shard from now on: every call and stream fails with this error. */
  refuse(error: StatusError): void;
}

/** Decides if the cluster that responds is the shard. */
export interface Recognition {
  /** A linearizable Range request whose response shows it. */
  readonly request: Uint8Array;
  /** Resolves to the error to refuse the shard with, or undefined. Rejects if it cannot be decided now. */
  judge(response: Uint8Array): Promise<StatusError | undefined>;
}

/**
 * Wraps a shard and refuses it once it has lost data. This is the case if it responds to a linearizable request with a
 * revision below `sealed()` at the time of the request, if its cluster id is not `clusterId()` (decimal; undefined while
 * unknown), or if `recognition` refuses it. From then on every call and stream fails with the error of that check, until
 * the proxy is restarted.
 *
 * Before the first request, and after each lost connection, a probe reads the shard's revision before any other request
 * is sent, so that an etcd that came back with older data gets no write. Reads that may lag do not wait for the probe.
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

/** Methods that go through the shard's log unless the call may lag. Their response header has a current revision. */
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
/** Pause before a failed probe of a shard with open streams is repeated. */
const PROBE_RETRY_MS = 1_000;
/** Accepts every cluster. */
const ANY_CLUSTER: Recognition = {
  request: PROBE,
  judge: async () => undefined,
};

class Guard implements GuardedShard {
  readonly index: number;
  readonly name: string;
  /** The error that the shard is refused with. */
  private loss: StatusError | undefined;
  /** True if the shard may have been replaced since the last probe. */
  private suspect = true;
  /** Number of times that the shard became suspect. */
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
        // A refused client must not cause a probe.
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
    // A stream does not show that the shard has lost data, so a probe must.
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

  /** Repeats the probe until it succeeds, while there are open streams. They would not notice a loss. */
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
      if (error === undefined) this.checkRevision(response, least);
      if (!etcd.futureRevision.is(error)) {
        done(this.loss ?? error, response);
        return;
      }
      // A sealed revision cannot be in the future. Either the client chose this revision, or the shard has lost it.
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

  /** Reads the shard's revision. Concurrent callers share one read. Never calls `done` synchronously. */
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
      this.checkCluster(response);
      this.checkRevision(response, least);
      if (this.loss !== undefined) {
        this.probed(undefined);
        return;
      }
      this.recognition.judge(response).then(
        (refusal) => {
          if (refusal !== undefined) this.refuse(refusal);
          // A connection that was lost in the meantime may have come back to another etcd.
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

  private checkRevision(response: Uint8Array, least: number): void {
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

  private checkCluster(response: Uint8Array): void {
    const expected = this.clusterId();
    const found = peekHeader(response).clusterId.toString();
    if (expected === undefined || found === expected || this.loss !== undefined) return;
    this.refuse(
      new StatusError(
        Code.FAILED_PRECONDITION,
        `${describeShard(this)} is the etcd cluster ${found}, but the store was made with cluster ${expected}: ` +
          "check the shard's endpoints; if the cluster was rebuilt from its newest data, " +
          `make it known with \`braid adopt ${this.name}\``,
      ),
    );
  }

  refuse(error: StatusError): void {
    this.loss = error;
    for (const stream of [...this.streams]) stream.end(error);
  }
}
