import type { Maps } from "../reshard/maps.js";
import type { PlacementState } from "../reshard/placement.js";
import type { StatusError } from "../status/error.js";
import type { Runtime } from "../turn/runtime.js";
import type { Base } from "./base.js";
import type { Applied } from "./fold.js";
import type { GenesisOptions } from "./genesis.js";
import type { LogHost, NextHost } from "./host.js";

/** What a `TimelineLog` is opened with. */
export interface LogOptions extends GenesisOptions {
  /** Unique name of this run of this proxy, for keys. */
  readonly proxy: string;
  readonly runtime: Runtime;
  /** The routers of the store's maps. */
  readonly maps: Maps;
  /** The endpoints of shards by name, as this proxy's file has them. Bases of format 2 record those that no entry has told. */
  readonly endpoints?: ReadonlyMap<string, readonly string[]>;
  /** Connects to a host to which the log has moved. */
  hostOf(next: NextHost): LogHost;
  /** Throws for a store that does not fit this proxy's configuration. Called when the log is opened. */
  accept(placement: Readonly<PlacementState>, format: Base["format"]): void;
}

/** Notifications of a `TimelineLog`. */
export interface LogEvents {
  /** An entry has been folded. */
  applied(key: string, result: Applied): void;
  /** A reload found a base that covers more than was folded. `applied` does not report those entries. */
  skipped(): void;
  /** The log was reloaded. Entries that are in its base by now were not reported by `applied`. */
  reloaded(): void;
  /** One or more changes have been folded. */
  advanced(): void;
  /** The log's end was read or, with an error, the host did not answer. */
  endRead(error: StatusError | undefined): void;
  /** The store can no longer be served, because the host lost data or its log is not readable. */
  failed(error: StatusError): void;
}
