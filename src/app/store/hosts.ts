import type { ShardClient } from "../../shard/client.js";
import type { NextHost } from "../../timeline/host.js";

/** The clusters that host a store's timeline, one after another. */
export class Hosts {
  /** The endpoints of a host to which the log has moved. */
  endpoints: readonly string[] | undefined;
  /** A client of whichever cluster is the host at the moment of the call. */
  readonly client: ShardClient;
  private opened: ShardClient | undefined;

  /** `current` is the client of the host of the moment. */
  constructor(
    public current: ShardClient,
    /** Opens a client of a host that is not a shard. */
    private readonly open: (next: NextHost) => ShardClient,
    /** The client of a host that is a shard. */
    private readonly shardAt: (next: NextHost) => ShardClient,
  ) {
    this.client = new Proxy(current, {
      get: (_, name) => {
        const value: unknown = Reflect.get(this.current, name);
        return typeof value === "function" ? value.bind(this.current) : value;
      },
    });
  }

  /** Goes on to the next host, and returns its client. */
  moveTo(next: NextHost): ShardClient {
    this.endpoints = next.endpoints;
    const left = this.opened;
    this.opened = next.shard >= 0 ? undefined : this.open(next);
    this.current = this.opened ?? this.shardAt(next);
    // The log repeats the calls that end with this on the next host, but only once it has left.
    if (left !== undefined) setImmediate(() => left.close());
    return this.current;
  }

  /** Closes what `moveTo` has opened. */
  close(): void {
    this.opened?.close();
  }
}
