import type { Http2Settings } from "./http2Settings.js";
import type { CallObserver } from "./observer.js";
import type { PortOptions } from "./port/port.js";

/** Options of a gRPC server, for either transport. */
export interface GrpcOptions extends PortOptions {
  /** Largest request message, in bytes. Larger ones fail with RESOURCE_EXHAUSTED, as in etcd's gRPC server. */
  readonly maxReceiveBytes: number;
  /** Bytes queued for one stream above which `send` returns false. Default: `HIGH_WATER_BYTES`. */
  readonly highWaterBytes?: number;
  /** Counts the calls and reports how they end. */
  readonly observer?: CallObserver;
  /** Default: the defaults of the configuration. */
  readonly http2?: Http2Settings;
}

export interface GrpcServer {
  /** Addresses with their actual ports, in the order of `listen`. */
  readonly addresses: readonly string[];
  /**
   * Stops accepting connections, ends streams with UNAVAILABLE at once, lets unary calls finish for up to `graceMs`
   * milliseconds, then cuts all connections. Resolves when they are closed.
   */
  shutdown(graceMs: number): Promise<void>;
  /** Reads the TLS files again, for new connections. */
  reloadCertificates(): void;
  /** When the certificate in use expires, in milliseconds since the epoch; undefined without TLS. */
  readonly certificateExpiresAt: number | undefined;
}

/** Default of `GrpcOptions.highWaterBytes`. */
export const HIGH_WATER_BYTES = 1 << 20;
