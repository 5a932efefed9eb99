import { Code, type StatusError } from "../status/error.js";
import type { CallMetadata } from "./caller.js";
import type { Endpoint } from "./endpoint.js";
import { answered, classify, type RawStatus } from "./errors.js";
import type { LinkCall } from "./link.js";
import type { Members } from "./members.js";
import type { ShardStream, StreamEvents } from "./shard.js";

/** An etcd that loses its leader ends streams with this metadata, so that they move to a member that has a leader. */
const METADATA = { hasleader: "true" };

/** A stream to a ready endpoint. It waits for one if necessary. */
export class StreamCall implements ShardStream {
  private call: LinkCall | undefined;
  private endpoint: Endpoint | undefined;
  private stopWaiting: (() => void) | undefined;
  /** Messages sent before the call could begin. */
  private readonly outgoing: { message: Uint8Array; last: boolean }[] = [];
  private paused = false;
  private closed = false;

  constructor(
    private readonly members: Members,
    private readonly path: string,
    private readonly events: StreamEvents,
    private readonly metadata: CallMetadata | undefined,
    private readonly onEnd: () => void,
  ) {
    // Later, so that no event reaches the caller before it has the stream.
    process.nextTick(() => this.open());
  }

  send(message: Uint8Array, last = false): void {
    if (this.closed) return;
    if (this.call === undefined) this.outgoing.push({ message, last });
    else if (last) this.call.sendAndEnd(message);
    else this.call.send(message);
  }

  pause(): void {
    this.paused = true;
    this.call?.pause();
  }

  resume(): void {
    this.paused = false;
    this.call?.resume();
  }

  cancel(): void {
    if (this.release()) this.call?.cancel();
  }

  /** Ends the stream with `error`. */
  fail(error: StatusError): void {
    if (!this.release()) return;
    this.call?.cancel();
    this.events.closed(error);
  }

  /** Ends the stream if its endpoint is silent and another answers. The owner can then reopen it there. */
  leaveSilent(): void {
    const { endpoint } = this;
    if (endpoint?.isSilent && this.members.hasOther(endpoint)) {
      this.fail(this.members.error("no answer", { detail: endpoint.label }));
    }
  }

  private open(): void {
    if (this.closed) return;
    if (this.members.isClosed) {
      this.fail(this.members.error("closed"));
      return;
    }
    const endpoint = this.members.choose();
    if (endpoint === undefined) {
      this.stopWaiting = this.members.awaitEndpoint(
        () => this.open(),
        () => this.fail(this.members.unreachable()),
      );
      return;
    }
    this.endpoint = endpoint;
    const metadata = this.metadata === undefined ? METADATA : { ...METADATA, ...this.metadata };
    this.call = endpoint.begin(this.path, metadata, {
      message: (message) => {
        if (!this.closed) this.events.message(message);
      },
      ended: (status) => this.ended(status, endpoint),
    });
    if (this.paused) this.call.pause();
    for (const { message, last } of this.outgoing.splice(0)) this.send(message, last);
  }

  private ended(status: RawStatus, endpoint: Endpoint): void {
    if (!this.release()) return;
    this.events.closed(this.reason(status, endpoint));
  }

  private reason(status: RawStatus, endpoint: Endpoint): StatusError {
    const { label } = endpoint;
    if (status.code === Code.OK) return this.members.error("the stream was ended", { detail: label });
    const failure = classify(status);
    if (failure === "etcd" && status.code === Code.UNAVAILABLE) this.members.avoid(endpoint);
    if (failure === "etcd" || failure === "answer") return answered(status);
    return this.members.error("connection lost", { detail: `${label}: ${status.details}` });
  }

  private release(): boolean {
    if (this.closed) return false;
    this.closed = true;
    this.stopWaiting?.();
    this.outgoing.length = 0;
    this.onEnd();
    return true;
  }
}
