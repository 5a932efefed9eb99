import { connect, createServer, type Socket } from "node:net";
import type { Transport } from "../../src/config/types.js";
import type { Logger } from "../../src/ops/log.js";
import { openShard, type ShardClient, type ShardOptions } from "../../src/shard/client.js";
import type { StreamEvents } from "../../src/shard/shard.js";
import type { StatusError } from "../../src/status/error.js";
import { PutRequest, RangeRequest, RangeResponse, WatchRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";

export interface LogLine {
  readonly level: "debug" | "info" | "warn";
  readonly fields: object;
  readonly message: string;
}

/** A log that records its lines. */
export function recordingLog(lines: LogLine[] = []): Logger & { lines: LogLine[] } {
  const at = (level: LogLine["level"]) => (fields: object, message: string) => {
    lines.push({ level, fields, message });
  };
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn") };
}

/** Opens a shard named "a" with generous timeouts. */
export function shardOf(endpoints: readonly string[], options: Partial<ShardOptions> = {}): ShardClient {
  const transport = process.env.SHARD_TRANSPORT as Transport | undefined;
  const defaults = { index: 0, name: "a", requestTimeoutMs: 20_000, connectTimeoutMs: 20_000 };
  return openShard({
    ...defaults,
    ...(transport && { transport }),
    log: recordingLog(),
    ...options,
    endpoints,
  });
}

const text = (value: string) => Buffer.from(value);

export const putRequest = (key: string, value: string) =>
  PutRequest.encode({ key: text(key), value: text(value) });

export const rangeRequest = (key: string) => RangeRequest.encode({ key: text(key) });

export const watchRequest = (key: string) =>
  WatchRequest.encode({ kind: "create", request: { key: text(key) } });

/** Makes a write, which is sent at most once. */
export async function put(shard: ShardClient, key: string, value: string): Promise<void> {
  await shard.call(KV.Put, putRequest(key, value), { idempotent: false });
}

/** Returns the value and version of a key; undefined if there is none. */
export async function get(
  shard: ShardClient,
  key: string,
): Promise<{ value: string; version: number } | undefined> {
  const response = RangeResponse.decode(await shard.call(KV.Range, rangeRequest(key), { idempotent: true }));
  const kv = response.kvs[0];
  return kv && { value: Buffer.from(kv.value).toString(), version: kv.version };
}

/** Resolves to the error with which `attempt` rejects. Rejects if it does not. */
export async function failureOf(attempt: Promise<unknown>): Promise<StatusError> {
  return attempt.then(
    () => {
      throw new Error("the call succeeded");
    },
    (error: StatusError) => error,
  );
}

/** Collects the events of a stream. */
export interface Recorder extends StreamEvents {
  readonly messages: Uint8Array[];
  readonly closes: StatusError[];
}

export function recorder(): Recorder {
  const messages: Uint8Array[] = [];
  const closes: StatusError[] = [];
  return {
    messages,
    closes,
    message: (message) => messages.push(message),
    closed: (error) => closes.push(error),
  };
}

/** A TCP relay in front of an etcd, which can break connections. */
export interface Relay {
  readonly endpoint: string;
  /** Connections accepted so far. */
  readonly accepted: number;
  /** Holds back the etcd's answers (true) or lets them through again. */
  holdAnswers(hold: boolean): void;
  /** Resets all connections, and with true also each new one until it is false again. */
  refuse(refuse: boolean): void;
  /** Resets all connections. */
  cut(): void;
  close(): Promise<void>;
}

/**
 * Resets a connection. One that is already shutting down is only destroyed: libuv cannot reset it, and Node would then
 * never close it and spin when the process ends.
 */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

export function startRelay(target: string): Promise<Relay> {
  const [host, port] = target.split(":");
  const pairs = new Set<{ client: Socket; server: Socket }>();
  let holding = false;
  let refusing = false;
  let accepted = 0;
  const listener = createServer((client) => {
    accepted++;
    if (refusing) {
      reset(client.on("error", () => {}));
      return;
    }
    const server = connect({ host, port: Number(port) });
    const pair = { client, server };
    pairs.add(pair);
    const end = () => {
      client.destroy();
      server.destroy();
      pairs.delete(pair);
    };
    for (const socket of [client, server]) socket.on("error", end).on("close", end);
    client.pipe(server);
    server.on("data", (data) => client.write(data));
    if (holding) server.pause();
  });
  const relay = {
    endpoint: "",
    get accepted() {
      return accepted;
    },
    holdAnswers(hold: boolean) {
      holding = hold;
      for (const { server } of pairs)
        if (hold) server.pause();
        else server.resume();
    },
    refuse(refuse: boolean) {
      refusing = refuse;
      if (refuse) this.cut();
    },
    cut() {
      for (const { client, server } of [...pairs]) {
        reset(client);
        server.destroy();
      }
    },
    close() {
      this.cut();
      return new Promise<void>((resolve) => listener.close(() => resolve()));
    },
  };
  return new Promise((resolve) => {
    listener.listen(0, "127.0.0.1", () => {
      const address = listener.address() as { port: number };
      resolve(Object.assign(relay, { endpoint: `127.0.0.1:${address.port}` }));
    });
  });
}
