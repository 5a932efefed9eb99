import assert from "node:assert/strict";
import { Agent, type IncomingMessage, type RequestListener, request } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, describe, mock, test } from "node:test";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { ErrorCode, Flag, FrameType, PREFACE } from "../../src/http2/protocol.js";
import { ConnectionStats } from "../../src/stats/connections.js";
import { serveGrpc } from "../../src/transport/grpc/serve.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import type { GrpcOptions, GrpcServer } from "../../src/transport/server.js";
import { frame, grpc, RawPeer, requestFields } from "../http2/raw.js";
import { until } from "../support/until.js";

const UNARY = "/test.Test/Unary";
const identity = (bytes: Buffer) => bytes;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Responds with `<method> <path> <body>`. `/stream` lasts until `end`, `/wait` until `release`. */
const open = { responses: 0, release: () => {}, end: () => {} };
const http1: RequestListener = async (incoming, response) => {
  open.responses++;
  response.once("close", () => open.responses--);
  if (incoming.url === "/stream") {
    response.write("begun\n");
    open.end = () => response.end("ended\n");
    return;
  }
  if (incoming.url === "/wait") await new Promise<void>((resolve) => (open.release = resolve));
  response.end(`${incoming.method} ${incoming.url} ${await text(incoming)}`);
};

async function text(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

function fetchText(address: string, path: string, body = "", agent: Agent | false = false): Promise<Answer> {
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    const outgoing = request({ host, port, path, method: "POST", agent }, async (response) => {
      try {
        resolve({ status: response.statusCode, headers: response.headers, body: await text(response) });
      } catch (error) {
        reject(error);
      }
    });
    outgoing.once("error", reject);
    outgoing.end(body);
  });
}

function dial(address: string): Socket {
  const [host, port] = address.split(":");
  const socket = connect({ host, port: Number(port), noDelay: true });
  cleanups.push(() => socket.destroy());
  return socket;
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

const ended = (socket: Socket) => {
  socket.resume();
  return new Promise<void>((resolve) => socket.once("close", () => resolve()));
};

for (const [name, transport] of Object.entries({ native: serveHttp2, "grpc-js": serveGrpc })) {
  describe(name, () => {
    async function serve(options: Partial<GrpcOptions> = { http1 }): Promise<GrpcServer> {
      const server = await transport(
        { unary: new Map([[UNARY, (_call, bytes, reply) => reply(undefined, bytes)]]), stream: new Map() },
        { listen: ["127.0.0.1:0"], maxReceiveBytes: 2_000_000, ...options },
      );
      cleanups.push(() => server.shutdown(0));
      return server;
    }

    function call(address: string, message: string): Promise<string> {
      const client = new Client(address, credentials.createInsecure(), {
        "grpc.use_local_subchannel_pool": 1,
      });
      cleanups.push(() => client.close());
      return new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          UNARY,
          identity,
          identity,
          Buffer.from(message),
          (error: ServiceError | null, response?: Buffer) =>
            error ? reject(error) : resolve(String(response)),
        );
      });
    }

    test("gRPC and HTTP/1.1 clients share the port", async () => {
      const { addresses } = await serve();
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      cleanups.push(() => agent.destroy());
      for (let i = 0; i < 3; i++) {
        const [answer, response] = await Promise.all([
          fetchText(addresses[0], `/v3/${i}`, "x".repeat(i * 100_000), agent),
          call(addresses[0], `gRPC ${i}`),
        ]);
        assert.equal(answer.status, 200);
        assert.equal(answer.body, `POST /v3/${i} ${"x".repeat(i * 100_000)}`);
        assert.equal(response, `gRPC ${i}`);
      }
    });

    test("both protocols are recognised in chunks of any size", async () => {
      const { addresses } = await serve();
      for (const size of [1, 2, 3, 7, 24, 25]) {
        const peer = new RawPeer(dial(addresses[0]));
        const http2 = Buffer.concat([
          PREFACE,
          frame(FrameType.SETTINGS, 0, 0),
          peer.headers(1, requestFields(UNARY)),
          frame(FrameType.DATA, Flag.END_STREAM, 1, grpc(Buffer.from("hello"))),
        ]);
        // Begins like the preface of HTTP/2.
        const plain = dial(addresses[0]);
        const http1 = Buffer.from("PROPFIND /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        const answer = text(plain);
        for (const [socket, bytes] of [
          [peer.socket, http2],
          [plain, http1],
        ] as const) {
          for (let at = 0; at < bytes.length; at += size) {
            socket.write(bytes.subarray(at, at + size));
            await new Promise((resolve) => setImmediate(resolve));
          }
        }
        await peer.frame((each) => each.type === FrameType.DATA && each.id === 1);
        assert.deepEqual(peer.data(1), grpc(Buffer.from("hello")));
        assert.match(await answer, /^HTTP\/1\.1 200 OK\r\n.*PROPFIND \/x/s);
      }
    });

    test("too many connections: the client gets an error in its protocol, and is served when others have gone", async () => {
      const stats = new ConnectionStats();
      const log: string[] = [];
      const { addresses } = await serve({
        http1,
        maxConnections: 2,
        connections: stats,
        log: { info: () => {}, warn: (fields, text) => log.push(`${text} ${JSON.stringify(fields)}`) },
      });
      const [address] = addresses;
      const held = [dial(address), dial(address)];
      await until("both are accepted", () => stats.open === 2);
      const answer = await fetchText(address, "/x");
      assert.deepEqual([answer.status, answer.body], [503, "too many connections\n"]);
      const peer = new RawPeer(dial(address));
      peer.write(PREFACE, frame(FrameType.SETTINGS, 0, 0));
      assert.equal(await peer.goaway(), ErrorCode.ENHANCE_YOUR_CALM);
      await peer.end();
      assert.deepEqual(log, ['too many connections {"limit":2}']);
      assert.equal(stats.refused.limit, 2);
      for (const socket of held) socket.destroy();
      await until("they are gone", () => stats.open === 0);
      assert.equal(await call(address, "served"), "served");
      assert.deepEqual([stats.accepted, stats.acceptedBy], [5, { http1: 0, http2: 1 }]);
    });

    test("the requests of a connection are served one at a time, and those that wait end with it", async () => {
      const { addresses } = await serve();
      const post = (path: string) => `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi`;
      const socket = dial(addresses[0]);
      const many = Array.from({ length: 40 }, (_, i) => `/${i}`);
      socket.write(["/wait", ...many].map(post).join(""));
      let answers = "";
      socket.setEncoding("latin1").on("data", (chunk: string) => {
        answers += chunk;
      });
      await until("the first request has come", () => open.responses > 0);
      assert.equal(open.responses, 1);
      open.release();
      await until("all are answered", () => answers.endsWith("POST /39 hi"));
      assert.deepEqual(
        [...answers.matchAll(/POST (\S+) hi/g)].map(([, path]) => path),
        ["/wait", ...many],
      );
      socket.write(["/stream", "/wait", ...many].map(post).join(""));
      await until("the stream has begun", () => answers.includes("begun"));
      open.release = () => assert.fail("the second request is served");
      const { release } = open;
      socket.destroy();
      await until("the stream's client has gone", () => open.responses === 0);
      assert.equal(open.release, release);
    });

    test("a client that keeps sending behind an unanswered request is disconnected after a minute", async () => {
      const stats = new ConnectionStats();
      const { addresses } = await serve({ http1, connections: stats });
      mock.timers.enable({ apis: ["setTimeout"] });
      cleanups.push(() => mock.timers.reset());
      const ahead = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";
      const [busy, patient] = [dial(addresses[0]), dial(addresses[0])];
      busy.on("error", () => {});
      busy.write(`GET /stream HTTP/1.1\r\nHost: x\r\n\r\n${ahead.repeat(10_000)}`);
      patient.write(`GET /stream HTTP/1.1\r\nHost: x\r\n\r\n${ahead.repeat(100)}`);
      while (open.responses < 2 || busy.bytesWritten < 64 * 1024) await turn();
      for (let i = 0; i < 100; i++) await turn();
      mock.timers.tick(59_000);
      await turn();
      assert.equal(stats.refused.pipelined, 0);
      mock.timers.tick(1_000);
      await ended(busy);
      assert.deepEqual([stats.refused.pipelined, patient.closed], [1, false]);
    });

    test("an upgrade to HTTP/2, as Java's client offers it, is ignored, and the request served", async () => {
      const { addresses } = await serve();
      const socket = dial(addresses[0]);
      const answer = text(socket);
      socket.write(
        "POST /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" +
          "HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 4\r\n\r\nbody",
      );
      await until("it is answered", () => socket.bytesRead > 0);
      socket.end();
      assert.match(await answer, /^HTTP\/1\.1 200 OK\r\n.*POST \/x body$/s);
    });

    test("without an HTTP/1.1 handler every path is 404", async () => {
      const { addresses } = await serve({});
      const answer = await fetchText(addresses[0], "/v3/kv/range");
      assert.deepEqual([answer.status, answer.body], [404, "404 page not found\n"]);
      assert.equal(answer.headers["content-type"], "text/plain; charset=utf-8");
    });

    test("shutdown: requests and streams may finish, idle and silent connections are closed", async () => {
      const server = await serve();
      const [address] = server.addresses;
      const agent = new Agent({ keepAlive: true });
      cleanups.push(() => agent.destroy());
      await fetchText(address, "/idle", "", agent);
      const silent = dial(address);
      await new Promise((resolve) => silent.once("connect", resolve));
      const streaming = fetchText(address, "/stream");
      const waiting = fetchText(address, "/wait");
      await until("both requests have come", () => open.responses === 2);
      const stopped = server.shutdown(20_000);
      await ended(silent);
      open.end();
      assert.equal((await streaming).body, "begun\nended\n");
      await assert.rejects(fetchText(address, "/new"), { code: "ECONNREFUSED" });
      open.release();
      const answer = await waiting;
      assert.deepEqual([answer.body, answer.headers.connection], ["POST /wait ", "close"]);
      await stopped;
    });

    test("shutdown: an unanswered request is cut off after the grace period", async () => {
      const server = await serve();
      const waiting = assert.rejects(fetchText(server.addresses[0], "/wait"), { code: "ECONNRESET" });
      await until("the request has come", () => open.responses === 1);
      await server.shutdown(50);
      await waiting;
      await until("its handler notices", () => open.responses === 0);
    });
  });
}
