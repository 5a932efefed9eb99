import type { Tracing } from "../../ops/openTelemetry.js";
import type {
  CallOptions,
  Done,
  Shard,
  ShardStream,
  StreamEvents,
  StreamOptions,
} from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { current, describeCall, end } from "./spans.js";

/** Adds a span to each unary call within a traced call, and passes its context to the shard. */
export function traceShard(shard: Shard, tracing: Tracing): Shard {
  return new TracedShard(shard, tracing);
}

class TracedShard implements Shard {
  readonly index: number;
  readonly name: string;

  constructor(
    private readonly shard: Shard,
    private readonly tracing: Tracing,
  ) {
    this.index = shard.index;
    this.name = shard.name;
  }

  unary(path: string, request: Uint8Array, options: CallOptions, done: Done): () => void {
    const parent = current.getStore();
    const started = parent && this.tracing.start(path.slice(1), "client", parent);
    if (started === undefined) return this.shard.unary(path, request, options, done);
    describeCall(started, path);
    started.span.setAttribute("braid.shard", this.name);
    const metadata = { ...options.metadata, traceparent: started.traceparent };
    const cancel = this.shard.unary(path, request, { ...options, metadata }, (error, response) => {
      end(started, error);
      // The response arrives in the socket's asynchronous context, not in the call's.
      current.run(parent!, done, error, response);
    });
    return () => {
      end(started, new StatusError(Code.CANCELLED, "cancelled"));
      cancel();
    };
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
    return this.shard.stream(path, events, options);
  }

  close(): void {
    this.shard.close();
  }
}
