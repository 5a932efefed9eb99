import type { Http2Settings } from "./http2Settings.js";
import type { CallObserver } from "./observer.js";
import type { PortOptions } from "./port/port.js";

/** How gRPC is served, whichever transport does it. */
export interface GrpcOptions extends PortOptions {
  /** Largest request message in bytes; what is larger is refused with RESOURCE_EXHAUSTED, as etcd's gRPC server does. */
  readonly maxReceiveBytes: number;
  /** Bytes queued for one stream above which `send` answers false. Default `HIGH_WATER_BYTES`. */
  readonly highWaterBytes?: number;
  /** Counts the calls, and is told how they end. */
  readonly observer?: CallObserver;
  readonly http2?: Http2Settings;
}

export interface GrpcServer {
  /** Where it listens, with the actual ports, in the order of `listen`. */
  readonly addresses: readonly string[];
  /**
   * Stops: accepts nothing new, ends streams with UNAVAILABLE at once, lets unary calls finish for up to
   * `graceMs`, then cuts all connections. Resolves when all is closed.
   */
  shutdown(graceMs: number): Promise<void>;
  /** Reads the files of TLS again, for the connections to come. */
  reloadCertificates(): void;
  /** When the certificate in use expires, ms since the epoch; undefined without TLS. */
  readonly certificateExpiresAt: number | undefined;
}

/** Bytes queued for one stream above which it is to wait. */
export const HIGH_WATER_BYTES = 1 << 20;
