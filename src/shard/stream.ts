import { Code, type StatusError } from "../status/error.js";
import { type Call, type Endpoint, toMetadata } from "./endpoint.js";
import { answered, classify, type RawStatus } from "./errors.js";
import type { Members } from "./members.js";
import type { ShardStream, StreamEvents } from "./shard.js";
import { toBuffer } from "./unary.js";

/** An etcd that loses its leader ends the streams that ask for one, so that they move to a member that has one. */
const METADATA = toMetadata({ hasleader: "true" });

/** One stream to a ready endpoint, waiting for one if need be. */
export class Stream implements ShardStream {
  private call: Call | undefined;
  private stopWaiting: (() => void) | undefined;
  private readonly outgoing: Buffer[] = [];
  private sending = false;
  private paused = false;
  /** True while the library has been asked for a message and has not given one. */
  private reading = false;
  private closed = false;

  constructor(
    private readonly members: Members,
    private readonly path: string,
    private readonly events: StreamEvents,
    private readonly onEnd: () => void,
  ) {
    // Not at once: nothing reaches the caller before it has the stream in hand.
    process.nextTick(() => this.open());
  }

  send(message: Uint8Array): void {
    if (this.closed) return;
    this.outgoing.push(toBuffer(message));
    this.flush();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.read();
  }

  cancel(): void {
    if (this.release()) this.call?.cancelWithStatus(Code.CANCELLED, "cancelled by the caller");
  }

  /** Ends the stream with `error`. */
  fail(error: StatusError): void {
    if (!this.release()) return;
    this.call?.cancelWithStatus(Code.CANCELLED, error.message);
    this.events.closed(error);
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
        (error) => this.fail(error),
      );
      return;
    }
    this.call = endpoint.begin(this.path, METADATA, {
      message: (message) => {
        this.reading = false;
        if (this.closed) return;
        this.events.message(message);
        this.read();
      },
      ended: (status) => this.ended(status, endpoint),
    });
    this.read();
    this.flush();
  }

  private read(): void {
    if (this.call === undefined || this.paused || this.reading || this.closed) return;
    this.reading = true;
    this.call.startRead();
  }

  /** One message at a time: the library holds no more than one before the stream is up. */
  private flush(): void {
    if (this.call === undefined || this.sending || this.closed) return;
    const message = this.outgoing.shift();
    if (message === undefined) return;
    this.sending = true;
    this.call.sendMessageWithContext(
      {
        callback: () => {
          this.sending = false;
          this.flush();
        },
      },
      message,
    );
  }

  private ended(status: RawStatus, endpoint: Endpoint): void {
    if (!this.release()) return;
    this.events.closed(this.reason(status, endpoint));
  }

  private reason(status: RawStatus, endpoint: Endpoint): StatusError {
    if (status.code === Code.OK) return this.members.error(`${endpoint.label} ended the stream`);
    const failure = classify(status);
    if (failure === "etcd" && status.code === Code.UNAVAILABLE) this.members.avoid(endpoint);
    if (failure === "etcd" || failure === "answer") return answered(status);
    return this.members.error(`connection to ${endpoint.label} lost (${status.details})`);
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
