import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, before, describe, test } from "node:test";
import { Client, type ClientDuplexStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { ListenTlsConfig } from "../../src/config/tls.js";
import { fromAsync } from "../../src/rpc/async.js";
import type { ServerStream, StreamHandler, UnaryHandler } from "../../src/rpc/call.js";
import { Code, StatusError } from "../../src/status/error.js";
import { serveGrpc } from "../../src/transport/grpc/serve.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import { ListenError } from "../../src/transport/port/listen.js";
import type { GrpcOptions, GrpcServer } from "../../src/transport/server.js";
import { Authority } from "../support/certificates.js";
import { until } from "../support/until.js";

const identity = (bytes: Buffer) => bytes;
const UNARY = "/test.Test/Unary";
const STREAM = "/test.Test/Stream";

/** The transport under test and its certificate. The tests run once for each. */
let transport: typeof serveHttp2 = serveHttp2;
let tls: ListenTlsConfig | undefined;
const authority = new Authority();
const transports = [
  ["grpc-js", serveGrpc, undefined],
  ["native", serveHttp2, undefined],
  ["native over TLS", serveHttp2, { ...authority.issue(), minVersion: "TLSv1.2" }],
] as const;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Fixture {
  readonly server: GrpcServer;
  readonly client: Client;
}

async function serve(
  handlers: { unary?: UnaryHandler; stream?: StreamHandler },
  options: Partial<GrpcOptions> = {},
): Promise<Fixture> {
  const server = await transport(
    {
      unary: new Map(handlers.unary ? [[UNARY, handlers.unary]] : []),
      stream: new Map(handlers.stream ? [[STREAM, handlers.stream]] : []),
    },
    { listen: ["127.0.0.1:0"], maxReceiveBytes: 2_000_000, tls, ...options },
  );
  cleanups.push(() => server.shutdown(0));
  return { server, client: connect(server.addresses[0]!) };
}

function connect(address: string): Client {
  const trust =
    tls === undefined ? credentials.createInsecure() : credentials.createSsl(readFileSync(authority.caFile));
  const client = new Client(address, trust, {
    "grpc.max_receive_message_length": -1,
    "grpc.use_local_subchannel_pool": 1,
  });
  cleanups.push(() => client.close());
  return client;
}

interface Answer {
  readonly response: Buffer | undefined;
  readonly error: ServiceError | null;
}

function call(
  client: Client,
  request: string | Buffer,
  { path = UNARY, metadata = new Metadata(), deadline = Number.POSITIVE_INFINITY } = {},
): Promise<Answer> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      identity,
      identity,
      Buffer.from(request),
      metadata,
      { deadline },
      (error, response?: Buffer) => resolve({ error, response }),
    );
  });
}

function open(client: Client): {
  stream: ClientDuplexStream<Buffer, Buffer>;
  ended: Promise<ServiceError | undefined>;
} {
  const stream = client.makeBidiStreamRequest(STREAM, identity, identity);
  const ended = new Promise<ServiceError | undefined>((resolve) => {
    stream.on("error", resolve);
    stream.on("end", () => resolve(undefined));
  });
  return { stream, ended };
}

const tick = () => new Promise((resolve) => setTimeout(resolve, 5));

/** Resolves when `count` has started to grow and then stopped: the windows of flow control are full. */
async function standstill(count: () => number): Promise<void> {
  let before = 0;
  let same = 0;
  await until(() => {
    same = count() === before && before > 0 ? same + 1 : 0;
    before = count();
    return same === 20;
  });
}

for (const [name, implementation, certificate] of transports) {
  describe(name, () => {
    before(() => {
      transport = implementation;
      tls = certificate;
    });

    describe("unary methods", () => {
      test("request, response, metadata and deadline", async () => {
        const seen: unknown[] = [];
        const { client } = await serve({
          unary: (context, request, reply) => {
            seen.push(
              context.path,
              context.metadata.get("token"),
              context.metadata.get("absent"),
              context.deadline,
            );
            reply(undefined, Buffer.concat([Buffer.from("re: "), request]));
          },
        });
        const metadata = new Metadata();
        metadata.set("token", "secret");
        const deadline = Date.now() + 60_000;
        const { response } = await call(client, "question", { metadata, deadline });
        assert.equal(String(response), "re: question");
        assert.deepEqual(seen.slice(0, 3), [UNARY, "secret", undefined]);
        assert.ok(Math.abs((seen[3] as number) - deadline) < 5_000);
        await call(client, "question");
        assert.equal(seen[7], Number.POSITIVE_INFINITY);
      });

      test("statuses keep code and text, with any characters", async () => {
        const texts = ["etcdserver: mvcc: required revision has been compacted", '100% of "ä"\n', "\ud800"];
        const { client } = await serve({
          unary: fromAsync(async (_call, request) => {
            throw new StatusError(Code.OUT_OF_RANGE, texts[Number(request)]!);
          }),
        });
        for (const [i, text] of texts.entries()) {
          const { error } = await call(client, String(i));
          assert.equal(error?.code, Code.OUT_OF_RANGE);
          assert.equal(error?.details, text.replace("\ud800", "\ufffd"));
        }
      });

      test("fromAsync: an error that is not a status becomes INTERNAL", async () => {
        const { client } = await serve({
          unary: fromAsync(async () => {
            throw new TypeError("a bug");
          }),
        });
        const { error } = await call(client, "");
        assert.deepEqual([error?.code, error?.details], [Code.INTERNAL, "a bug"]);
      });

      test("an unknown method is UNIMPLEMENTED, with its name", async () => {
        const { client } = await serve({});
        const { error } = await call(client, "", { path: "/etcdserverpb.KV/Nonsense" });
        assert.equal(error?.code, Code.UNIMPLEMENTED);
        assert.match(error!.details, /\/etcdserverpb\.KV\/Nonsense|^unknown service etcdserverpb\.KV$/);
      });

      test("large messages pass in both directions; one above the limit is refused with etcd's text", async () => {
        const { client } = await serve({
          unary: (_call, request, reply) => reply(undefined, Buffer.alloc(10 * request.length)),
        });
        const { response } = await call(client, Buffer.alloc(2_000_000));
        assert.equal(response?.length, 20_000_000);
        const { error } = await call(client, Buffer.alloc(2_000_001));
        assert.equal(error?.code, Code.RESOURCE_EXHAUSTED);
        assert.equal(error?.details, "grpc: received message larger than max (2000001 vs. 2000000)");
        const huge = await call(client, Buffer.alloc(8_000_001));
        assert.equal(huge.error?.code, Code.RESOURCE_EXHAUSTED);
      });

      test("the handler is cancelled when the client cancels, its deadline passes, or its connection closes", async () => {
        const ends: string[] = [];
        let begun = 0;
        const { client, server } = await serve({
          unary: (context, request) => {
            begun++;
            context.onCancel(() => {
              assert.equal(context.cancelled, true);
              ends.push(String(request));
              context.onCancel(() => ends.push("at once"));
            });
            context.onCancel(() => ends.push("taken back"))();
          },
        });
        const cancelled = client.makeUnaryRequest(
          UNARY,
          identity,
          identity,
          Buffer.from("cancelled"),
          () => {},
        );
        await until(() => begun === 1);
        cancelled.cancel();
        await until(() => ends.length === 2);
        const { error } = await call(client, "deadline", { deadline: Date.now() + 100 });
        assert.equal(error?.code, Code.DEADLINE_EXCEEDED);
        await until(() => ends.length === 4);
        const other = connect(server.addresses[0]!);
        void call(other, "connection");
        await until(() => begun === 3);
        other.close();
        // Closing a channel leaves its calls alone; the shutdown cuts the connection.
        await server.shutdown(0);
        await until(() => ends.length === 6);
        assert.deepEqual(ends, ["cancelled", "at once", "deadline", "at once", "connection", "at once"]);
      });

      test("a call that was answered is not reported as cancelled", async () => {
        let cancelled = false;
        const { client } = await serve({
          unary: (context, request, reply) => {
            context.onCancel(() => {
              cancelled = true;
            });
            reply(undefined, request);
            assert.equal(context.cancelled, false);
          },
        });
        for (let i = 0; i < 10; i++) assert.ok((await call(client, "x")).response);
        assert.equal(cancelled, false);
      });
    });

    describe("streams", () => {
      test("messages in order, parts joined, half-close seen, ended with OK", async () => {
        const { client } = await serve({
          stream: (stream) => {
            stream.onMessage((message) => stream.send([Buffer.from("<"), message, Buffer.from(">")]));
            stream.onEnd(() => {
              stream.send([Buffer.from("bye")]);
              stream.end();
              stream.send([Buffer.from("dropped")]);
            });
          },
        });
        const { stream, ended } = open(client);
        const got: string[] = [];
        stream.on("data", (message) => got.push(String(message)));
        for (let i = 0; i < 100; i++) stream.write(Buffer.from(String(i)));
        stream.end();
        assert.equal(await ended, undefined);
        assert.deepEqual(got, [...Array.from({ length: 100 }, (_, i) => `<${i}>`), "bye"]);
      });

      test("an error comes after what was sent before it", async () => {
        const { client } = await serve({
          stream: (stream) => {
            stream.onMessage(() => {
              for (let i = 0; i < 50; i++) stream.send([Buffer.alloc(100_000, i)]);
              stream.end(new StatusError(Code.UNAVAILABLE, "etcdserver: no leader"));
              stream.end();
            });
          },
        });
        const { stream, ended } = open(client);
        let got = 0;
        stream.on("data", () => got++);
        stream.write(Buffer.from("go"));
        const error = await ended;
        assert.deepEqual([error?.code, error?.details, got], [Code.UNAVAILABLE, "etcdserver: no leader", 50]);
      });

      test("a client that does not read: send returns false, and the queue drains when the client reads", async () => {
        const MESSAGE = Buffer.alloc(64 * 1024, 1);
        let accepted = 0;
        let drains = 0;
        let peak = 0;
        let server: ServerStream | undefined;
        const HIGH_WATER = 512 * 1024;
        const { client } = await serve(
          {
            stream: (stream) => {
              server = stream;
              const fill = () => {
                let more = true;
                while (more && accepted < 400) {
                  more = stream.send([MESSAGE]);
                  accepted++;
                  peak = Math.max(peak, stream.queuedBytes);
                }
                if (accepted === 400) stream.end();
              };
              stream.onMessage(fill);
              stream.onDrain(() => {
                drains++;
                fill();
              });
            },
          },
          { highWaterBytes: HIGH_WATER },
        );
        const { stream, ended } = open(client);
        stream.write(Buffer.from("go"));
        // It reads one message and then stops. (grpc-js buffers everything until the first read.)
        let got = 0;
        stream.once("data", () => {
          got++;
          stream.pause();
        });
        await standstill(() => accepted);
        assert.ok(accepted < 400, `${accepted} messages taken although the client does not read`);
        assert.ok(server!.queuedBytes > HIGH_WATER / 2, "still above the mark at which it drains");
        assert.ok(
          peak > HIGH_WATER && peak <= HIGH_WATER + MESSAGE.length + 5,
          "at most one message beyond the mark",
        );
        stream.on("data", (message: Buffer) => {
          assert.equal(message.length, MESSAGE.length);
          got++;
        });
        stream.resume();
        assert.equal(await ended, undefined);
        assert.equal(got, 400);
        assert.ok(drains > 0);
      });

      test("a paused stream delivers nothing and holds the client up", async () => {
        let server: ServerStream | undefined;
        let got = 0;
        const { client } = await serve({
          stream: (stream) => {
            server = stream;
            stream.onMessage(() => {
              got++;
              if (got === 1) stream.pause();
            });
          },
        });
        const { stream, ended } = open(client);
        stream.on("data", () => {});
        let written = 0;
        for (let i = 0; i < 200; i++) stream.write(Buffer.alloc(100_000), () => written++);
        await until(() => got === 1);
        await standstill(() => written);
        assert.equal(got, 1);
        assert.ok(written < 200, "the client is held up");
        server!.resume();
        await until(() => got === 200);
        server!.end();
        assert.equal(await ended, undefined);
      });

      test("cancellation: reported once, and nothing more is sent or queued", async () => {
        let server: ServerStream | undefined;
        let cancels = 0;
        let drains = 0;
        const { client } = await serve({
          stream: (stream) => {
            server = stream;
            stream.onMessage(() => {});
            stream.onCancel(() => {
              cancels++;
              drains = 0;
            });
            stream.onDrain(() => drains++);
            while (stream.send([Buffer.alloc(100_000)]));
          },
        });
        const { stream, ended } = open(client);
        stream.write(Buffer.from("go"));
        await until(() => server !== undefined);
        stream.cancel();
        await until(() => cancels === 1);
        assert.equal((await ended)?.code, Code.CANCELLED);
        assert.equal(server!.cancelled, true);
        assert.equal(server!.send([Buffer.alloc(10)]), true);
        assert.equal(server!.queuedBytes, 0);
        server!.end();
        await tick();
        assert.deepEqual([cancels, drains], [1, 0]);
      });

      test("an oversized message ends the stream with etcd's text", async () => {
        const { client } = await serve({
          stream: (stream) => stream.onMessage(() => assert.fail("delivered")),
        });
        const { stream, ended } = open(client);
        stream.on("data", () => {});
        stream.write(Buffer.alloc(2_000_001));
        assert.equal((await ended)?.details, "grpc: received message larger than max (2000001 vs. 2000000)");
      });
    });

    describe("listening and stopping", () => {
      test("a port in use is a ListenError with the address", async () => {
        const blocker = createServer();
        await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
        cleanups.push(() => blocker.close());
        const address = `127.0.0.1:${(blocker.address() as { port: number }).port}`;
        await assert.rejects(serve({}, { listen: ["127.0.0.1:0", address] }), (error) => {
          assert.ok(error instanceof ListenError);
          assert.deepEqual([error.code, error.address], ["EADDRINUSE", address]);
          assert.equal(error.message, `cannot listen on ${address}: the address is already in use`);
          return true;
        });
      });

      test("a malformed address is a ListenError with the reason", async () => {
        await assert.rejects(serve({}, { listen: ["127.0.0.1:99999"] }), {
          name: "ListenError",
          message: "cannot listen on 127.0.0.1:99999: port 99999 is above 65535",
        });
      });

      test("several addresses and unix sockets", async () => {
        const dir = mkdtempSync(join(tmpdir(), "braid-grpc-"));
        cleanups.push(() => rmSync(dir, { recursive: true }));
        const unix = `unix:${join(dir, "socket")}`;
        const unary: UnaryHandler = (_call, request, reply) => reply(undefined, request);
        const { server } = await serve({ unary }, { listen: ["127.0.0.1:0", "localhost:0", unix] });
        assert.match(server.addresses.join(" "), /^127\.0\.0\.1:[1-9]\d* localhost:[1-9]\d* unix:/);
        for (const address of server.addresses) {
          assert.equal(String((await call(connect(address), address)).response), address);
        }
      });

      test("shutdown: unary calls finish, streams end with etcd's text, new connections are refused", async () => {
        let finish: (() => void) | undefined;
        let cancels = 0;
        const { client, server } = await serve({
          unary: (_call, request, reply) => {
            finish = () => reply(undefined, request);
          },
          stream: (stream) => {
            stream.onCancel(() => cancels++);
            stream.send([Buffer.from("hello")]);
          },
        });
        const { stream, ended } = open(client);
        stream.on("data", () => {});
        const pending = call(client, "last");
        await until(() => finish !== undefined);
        const stopped = server.shutdown(20_000);
        const error = await ended;
        assert.deepEqual([error?.code, error?.details], [Code.UNAVAILABLE, "etcdserver: server stopped"]);
        assert.equal(cancels, 1);
        const refused = await call(connect(server.addresses[0]!), "new");
        assert.equal(refused.error?.code, Code.UNAVAILABLE);
        finish!();
        assert.equal(String((await pending).response), "last");
        await stopped;
      });

      test("shutdown: calls that do not finish are cut off after the grace period", async () => {
        let begun = false;
        let cancelled = false;
        const { client, server } = await serve({
          unary: (context) => {
            begun = true;
            context.onCancel(() => {
              cancelled = true;
            });
          },
        });
        const pending = call(client, "never");
        await until(() => begun);
        const started = Date.now();
        await server.shutdown(200);
        assert.ok(Date.now() - started < 5_000);
        assert.ok((await pending).error);
        await until(() => cancelled);
      });
    });
  });
}
