import { setTimeout as pause } from "node:timers/promises";
import type { Backend } from "../services/maintenance.js";
import { StatusError } from "../status/error.js";
import { StatusResponse } from "../wire/messages.js";
import { Maintenance } from "../wire/paths.js";
import { EMPTY } from "../wire/reader.js";
import type { MemberReport } from "./report.js";

/** A member's state, as it was last asked for. */
export type MemberState = Omit<MemberReport, "isInUse">;

/** Age at which members are asked again, in milliseconds. */
const MAX_AGE_MS = 1_000;
/** How long a member may take to respond, in milliseconds. */
const TIMEOUT_MS = 1_500;
/** A look waits this long for the newest states, in milliseconds. Afterwards it gets the last known ones. */
const WAIT_MS = 700;
/** Connections are closed after this time without a look, in milliseconds. */
const IDLE_MS = 30_000;
/** Longest text of a problem, in characters. */
const MAX_TEXT = 200;

type Connection = ReturnType<Backend["open"]>;

/**
 * The state of each member of each cluster. Members are asked only while somebody looks, over connections of their own, because a
 * shard's client talks to one member.
 */
export class Members {
  private readonly connections = new Map<string, Connection>();
  private known: ReadonlyMap<number, readonly MemberState[]> = new Map();
  private knownAt = Number.NEGATIVE_INFINITY;
  private asking: Promise<void> | undefined;
  private idle: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(private readonly backends: () => readonly Backend[]) {}

  /** Members by index of their cluster. The first look waits for all responses. */
  async look(): Promise<ReadonlyMap<number, readonly MemberState[]>> {
    if (this.closed) return this.known;
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.disconnect(), IDLE_MS).unref();
    if (performance.now() - this.knownAt > MAX_AGE_MS) {
      this.asking ??= this.ask().finally(() => {
        this.asking = undefined;
      });
    }
    if (this.known.size === 0) await this.asking;
    else if (this.asking !== undefined) await Promise.race([this.asking, pause(WAIT_MS)]);
    return this.known;
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.idle);
    this.disconnect();
  }

  private async ask(): Promise<void> {
    const backends = this.backends();
    const wanted = new Set(
      backends.flatMap(({ index, endpoints }) => endpoints.map((each) => `${index} ${each}`)),
    );
    for (const key of [...this.connections.keys()]) if (!wanted.has(key)) this.disconnectFrom(key);
    const states = await Promise.all(
      backends.map(async (backend) => {
        const members = backend.endpoints.map((endpoint) => this.askOne(backend, endpoint));
        return [backend.index, await Promise.all(members)] as const;
      }),
    );
    this.known = new Map(states);
    this.knownAt = performance.now();
  }

  private async askOne(backend: Backend, endpoint: string): Promise<MemberState> {
    try {
      const connection = this.connectionTo(backend, endpoint);
      const options = { idempotent: true, mayLag: true, deadline: Date.now() + TIMEOUT_MS };
      const status = StatusResponse.decode(await connection.call(Maintenance.Status, EMPTY, options));
      return {
        endpoint,
        state: stateOf(status),
        version: status.version,
        size: status.dbSize,
        sizeInUse: status.dbSizeInUse,
        quota: status.dbSizeQuota > 0 ? status.dbSizeQuota : null,
        problems: status.errors.slice(0, 8).map((text) => text.slice(0, MAX_TEXT)),
      };
    } catch (reason) {
      // A new connection tries at once, while an old one waits longer and longer.
      this.disconnectFrom(`${backend.index} ${endpoint}`);
      const { message } = StatusError.from(reason);
      const unknown = { version: null, size: null, sizeInUse: null, quota: null };
      return { endpoint, state: "unreachable", ...unknown, problems: [message.slice(0, MAX_TEXT)] };
    }
  }

  private connectionTo(backend: Backend, endpoint: string): Connection {
    const key = `${backend.index} ${endpoint}`;
    let connection = this.connections.get(key);
    if (connection === undefined) {
      connection = backend.open(endpoint);
      if (this.closed) connection.close();
      else this.connections.set(key, connection);
    }
    return connection;
  }

  private disconnectFrom(key: string): void {
    this.connections.get(key)?.close();
    this.connections.delete(key);
  }

  private disconnect(): void {
    for (const key of [...this.connections.keys()]) this.disconnectFrom(key);
    this.known = new Map();
    this.knownAt = Number.NEGATIVE_INFINITY;
  }
}

function stateOf({ leader, header }: StatusResponse): MemberReport["state"] {
  if (leader === 0n) return "no leader";
  return leader === header?.memberId ? "leader" : "follower";
}
