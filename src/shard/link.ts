import type { RawStatus } from "./errors.js";

export interface CallListener {
  message(message: Buffer): void;
  /** Called once, but not after `cancel`. Code 0 is success. */
  ended(status: RawStatus): void;
}

/** One call in flight. */
export interface LinkCall {
  send(message: Uint8Array): void;
  /** Sends the only or last message. */
  sendAndEnd(message: Uint8Array): void;
  /** Pauses delivery of messages. One more may still come. */
  pause(): void;
  /** Resumes delivery of messages. */
  resume(): void;
  /** Cancels the call at the endpoint. The listener is not called any more. */
  cancel(): void;
}

export interface LinkEvents {
  /** Called after each change. `reason` is why the latest attempt to connect has not succeeded, if known. */
  changed(state: "connecting" | "ready" | "failed", reason?: string): void;
  /** Called when headers or a message came for any call. */
  heard(): void;
}

/** The connection to one endpoint. After `connect`, it reconnects whenever it is lost. */
export interface Link {
  /** True if a call can be sent now. */
  readonly ready: boolean;
  connect(): void;
  /** Begins a call. The link must be `ready`. The listener is never called before this has returned. */
  begin(
    path: string,
    metadata: Readonly<Record<string, string>> | undefined,
    listener: CallListener,
  ): LinkCall;
  close(): void;
}
