import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

/*
 * A client of etcd's Lock and Election services that shares no code with the proxy: grpc-js with messages of proto-loader.
 * Bytes are text, int64 are strings, and a message has only the fields that were on the wire.
 */

/** A message, with bytes as text. */
export type Message = { [field: string]: string | number | boolean | Message | readonly Message[] };

/** The outcome of a call: a response, or a status other than OK. */
export interface Answer {
  readonly code: number;
  readonly text: string;
  readonly response: Message;
}

export interface Pending {
  readonly answer: Promise<Answer>;
  /** Cancels the call. */
  cancel(): void;
}

/** A call that takes longer has hung, in milliseconds. */
const DEADLINE = 60_000;

// Tests run from sources or compiled into dist/. The protos are beside both.
const root = import.meta.url.endsWith(".ts") ? "../../" : "../../../";
const definition = loadSync(["rpc.proto", "v3lock.proto", "v3election.proto"], {
  includeDirs: [fileURLToPath(new URL(`${root}proto`, import.meta.url))],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: false,
});

const SERVICES = {
  Lock: "v3lockpb.Lock",
  Election: "v3electionpb.Election",
  KV: "etcdserverpb.KV",
  Lease: "etcdserverpb.Lease",
  Auth: "etcdserverpb.Auth",
} as const;

export class RecipeClient {
  /** Sent with each call. */
  readonly metadata = new grpc.Metadata();
  private readonly client: grpc.Client;

  constructor(endpoint: string) {
    this.client = new grpc.Client(endpoint, grpc.credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
    });
  }

  /** One unary call, `method` as in `Lock.Unlock`. Never rejects. */
  call(method: string, request: Message, deadline?: number): Promise<Answer> {
    return this.start(method, request, deadline).answer;
  }

  /** Like `call`, for one that may wait. */
  start(method: string, request: Message, deadline = DEADLINE): Pending {
    const { path, requestSerialize, responseDeserialize } = find(method);
    let cancel = () => {};
    const answer = new Promise<Answer>((resolve) => {
      const call = this.client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        toBytes(request),
        this.metadata,
        { deadline: Date.now() + deadline },
        (error, response) =>
          resolve(
            error
              ? { code: error.code, text: error.details, response: {} }
              : { code: 0, text: "", response: toText(response) as Message },
          ),
      );
      cancel = () => call.cancel();
    });
    return { answer, cancel };
  }

  observe(name: string): Observer {
    const { path, requestSerialize, responseDeserialize } = find("Election.Observe");
    return new Observer(
      this.client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        toBytes({ name }),
        this.metadata,
        {
          deadline: Date.now() + DEADLINE,
        },
      ),
    );
  }

  /** The value and keys of a prefix, in the order of their creation. */
  async keys(prefix: string): Promise<string[]> {
    const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
    const { response } = await this.call("KV.Range", {
      key: prefix,
      range_end: end,
      sort_target: "CREATE",
      sort_order: "ASCEND",
    });
    return ((response.kvs ?? []) as Message[]).map(({ key }) => key as string);
  }

  async grant(id: number, ttl = 600): Promise<void> {
    const { text } = await this.call("Lease.LeaseGrant", { ID: id, TTL: ttl });
    if (text !== "") throw new Error(text);
  }

  close(): void {
    this.client.close();
  }
}

/** An Observe stream. */
export class Observer {
  readonly seen: Message[] = [];
  /** How it ended. */
  status: grpc.StatusObject | undefined;
  private changed: () => void = () => {};

  constructor(private readonly stream: grpc.ClientReadableStream<unknown>) {
    stream.on("data", (message) => {
      this.seen.push(toText(message) as Message);
      this.changed();
    });
    // The status has the error.
    stream.on("error", () => {});
    stream.on("status", (status: grpc.StatusObject) => {
      this.status = status;
      this.changed();
    });
  }

  /** The values so far. */
  get values(): string[] {
    return this.seen.map(({ kv }) => (kv as Message).value as string);
  }

  /** Resolves once so many leaders were reported. Rejects when the stream has ended before. */
  async count(leaders: number): Promise<void> {
    while (this.seen.length < leaders) {
      if (this.status !== undefined) throw new Error(`ended: ${this.status.details}`);
      await new Promise<void>((resolve) => {
        this.changed = resolve;
      });
    }
  }

  async ended(): Promise<grpc.StatusObject> {
    while (this.status === undefined) {
      await new Promise<void>((resolve) => {
        this.changed = resolve;
      });
    }
    return this.status;
  }

  cancel(): void {
    this.stream.cancel();
  }
}

function find(method: string): grpc.MethodDefinition<object, object> {
  const [service, name] = method.split(".") as [keyof typeof SERVICES, string];
  return (definition[SERVICES[service]] as grpc.ServiceDefinition)[name] as grpc.MethodDefinition<
    object,
    object
  >;
}

/** Fields that are bytes in the .proto. */
const BYTES = new Set(["key", "range_end", "name", "value"]);

function toBytes(message: Message): object {
  return Object.fromEntries(
    Object.entries(message).map(([name, value]) => {
      if (typeof value === "string" && BYTES.has(name)) return [name, Buffer.from(value)];
      if (typeof value === "object" && !Array.isArray(value)) return [name, toBytes(value as Message)];
      return [name, value];
    }),
  );
}

function toText(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString();
  if (Array.isArray(value)) return value.map(toText);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, toText(field)]));
}
