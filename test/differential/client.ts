import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

/*
 * A client that shares no code with the proxy: grpc-js with messages by proto-loader. int64 are strings, bytes are
 * Buffers, and only what was on the wire is there.
 */

/** A message as proto-loader has it. */
export type Message = Record<string, unknown>;

/** What one call brought: a response, or a status that is not OK. */
export interface Answer {
  readonly code: number;
  readonly message: string;
  readonly response: Message | undefined;
}

export type KvMethod = "Range" | "Put" | "DeleteRange" | "Txn" | "Compact";
export type LeaseMethod = "LeaseGrant" | "LeaseRevoke" | "LeaseTimeToLive" | "LeaseLeases";
export type UnaryMethod = KvMethod | LeaseMethod;

/** No call of these tests takes long; one that does has hung, ms. */
const DEADLINE = 30_000;

// Tests run from their sources or compiled into dist/; the protos are beside both.
const root = import.meta.url.endsWith(".ts") ? "../../" : "../../../";
const definition = loadSync("rpc.proto", {
  includeDirs: [fileURLToPath(new URL(`${root}proto`, import.meta.url))],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: false,
});

type UnaryCall = (
  request: Message,
  options: { deadline: number },
  done: (error: grpc.ServiceError | null, response?: Message) => void,
) => void;
export type Duplex = grpc.ClientDuplexStream<Message, Message>;

interface Service {
  close(): void;
  [method: string]: unknown;
}

type ServiceConstructor = new (
  endpoint: string,
  credentials: grpc.ChannelCredentials,
  options: object,
) => Service;

const api = (grpc.loadPackageDefinition(definition) as Record<string, unknown>).etcdserverpb as Record<
  string,
  ServiceConstructor
>;

/** One etcd endpoint, as a client sees it. */
export class EtcdClient {
  private readonly services: Record<"KV" | "Lease" | "Watch", Service>;

  /** `more` are channel options of grpc-js. */
  constructor(endpoint: string, more: grpc.ChannelOptions = {}) {
    const options = {
      "grpc.max_receive_message_length": -1,
      "grpc.max_send_message_length": -1,
      ...more,
    };
    const connect = (name: string) => new api[name](endpoint, grpc.credentials.createInsecure(), options);
    this.services = { KV: connect("KV"), Lease: connect("Lease"), Watch: connect("Watch") };
  }

  /** Never rejects. */
  call(method: UnaryMethod, request: Message): Promise<Answer> {
    const service = method.startsWith("Lease") ? this.services.Lease : this.services.KV;
    return new Promise((resolve) => {
      (service[method] as UnaryCall)(request, { deadline: Date.now() + DEADLINE }, (error, response) =>
        resolve(
          error
            ? { code: error.code, message: error.details, response: undefined }
            : { code: 0, message: "", response },
        ),
      );
    });
  }

  /** Sends keep-alives on a stream of their own, ends it, and resolves with all that came. Never rejects. */
  keepAlive(requests: readonly Message[]): Promise<Answer> {
    return new Promise((resolve) => {
      const open = this.services.Lease.LeaseKeepAlive as (options: object) => Duplex;
      const stream = open.call(this.services.Lease, { deadline: Date.now() + DEADLINE });
      const answers: Message[] = [];
      stream.on("data", (answer: Message) => answers.push(answer));
      stream.on("error", () => undefined); // its status tells
      stream.on("status", (status: grpc.StatusObject) =>
        resolve({
          code: status.code,
          message: status.code === 0 ? "" : status.details,
          response: { answers },
        }),
      );
      for (const request of requests) stream.write(request);
      stream.end();
    });
  }

  watch(): Duplex {
    const open = this.services.Watch.Watch as () => Duplex;
    return open.call(this.services.Watch);
  }

  close(): void {
    for (const service of Object.values(this.services)) service.close();
  }
}
