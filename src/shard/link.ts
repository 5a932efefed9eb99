import type { RawStatus } from "./errors.js";

export interface CallListener {
  message(message: Buffer): void;
  /** Called once, and not after `cancel`; code 0 is success. */
  ended(status: RawStatus): void;
}

/** One call in flight. */
export interface LinkCall {
  send(message: Uint8Array): void;
  /** Sends the only or last message. */
  sendAndEnd(message: Uint8Array): void;
  /** Stops and restarts delivery of messages; one that was asked for may still come. */
  pause(): void;
  resume(): void;
  /** The endpoint is told, the listener hears no more. */
  cancel(): void;
}

export interface LinkEvents {
  /** After each change; `reason` is why the latest attempt has not succeeded, where that is known. */
  changed(state: "connecting" | "ready" | "failed", reason?: string): void;
  /** The endpoint gave a sign of life for some call. */
  heard(): void;
}

/** The connection to one endpoint. From `connect` on it connects again whenever it is lost. */
export interface Link {
  /** True when a call can be sent right now. */
  readonly ready: boolean;
  connect(): void;
  /** Only when `ready`. The listener is not called before this has returned. */
  begin(
    path: string,
    metadata: Readonly<Record<string, string>> | undefined,
    listener: CallListener,
  ): LinkCall;
  close(): void;
}
