import type { Sender } from "./sender.js";

/**
 * How long a PING may wait for its ACK. grpc-go pings whenever it gets data, to estimate the bandwidth, but has at
 * most one such ping in flight. If each were answered at once, every request would cost one more write and one
 * more read. The peer does not wait for the ACK, and timeouts of pings are seconds.
 */
const DELAY_MS = 20;
/** Most pings that wait for their ACKs. One more sends them all. */
const MAX_PENDING = 4;

type Ping = readonly [mark: number, rest: number];

/** Connections with pending ACKs, oldest first. */
let pending: PingAcks[] = [];

function sendAll(): void {
  const due = pending;
  pending = [];
  for (const acks of due) acks.send();
}

/** Delays the ACKs of a peer's pings a little, to send several at once. */
export class PingAcks {
  private pings: Ping[] = [];

  constructor(private readonly sender: Sender) {}

  /** Adds the ACK of a ping, whose eight bytes are `mark` and `rest`. */
  add(mark: number, rest: number): void {
    if (this.pings.length === 0) {
      if (pending.push(this) === 1) setTimeout(sendAll, DELAY_MS);
    }
    this.pings.push([mark, rest]);
    if (this.pings.length >= MAX_PENDING) this.send();
  }

  /** Sends the pending ACKs. */
  send(): void {
    const { pings } = this;
    if (pings.length === 0) return;
    this.pings = [];
    for (const [mark, rest] of pings) this.sender.ping(mark, rest, true);
  }

  /** Drops the pending ACKs: the connection has ended. */
  stop(): void {
    this.pings = [];
  }
}
