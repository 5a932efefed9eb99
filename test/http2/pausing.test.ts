import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, constants } from "node:http2";
import { after, before, test } from "node:test";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import type { GrpcServer } from "../../src/transport/server.js";

const PATH = "/test.Test/Stream";

let server: GrpcServer;
before(async () => {
  server = await serveHttp2(
    {
      unary: new Map(),
      stream: new Map([
        [
          PATH,
          (stream) => {
            stream.onMessage((message) => {
              stream.send([message]);
              // Some resume at once, some later, each time with more data already received.
              if (message[0] % 5 === 0) return;
              stream.pause();
              if (message[0] % 5 === 1) stream.resume();
              else setImmediate(() => stream.resume());
            });
            stream.onEnd(() => stream.end());
          },
        ],
      ]),
    },
    { listen: ["127.0.0.1:0"], maxReceiveBytes: 1 << 20 },
  );
});
after(() => server.shutdown(0));

/** Sends `messages` on one stream, from a client that pads its frames or not. Returns the messages that come back. */
async function echo(messages: readonly Buffer[], pads: boolean, pieces: number): Promise<Buffer[]> {
  const paddingStrategy = pads ? constants.PADDING_STRATEGY_MAX : constants.PADDING_STRATEGY_NONE;
  const session = connect(`http://${server.addresses[0]}`, { paddingStrategy });
  try {
    const request = session.request({
      ":method": "POST",
      ":path": PATH,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const received: Buffer[] = [];
    request.on("data", (chunk: Buffer) => received.push(chunk));
    const framed = Buffer.concat(
      messages.map((message) => {
        const prefix = Buffer.alloc(5);
        prefix.writeUInt32BE(message.length, 1);
        return Buffer.concat([prefix, message]);
      }),
    );
    const size = Math.ceil(framed.length / pieces);
    for (let at = 0; at < framed.length; at += size) request.write(framed.subarray(at, at + size));
    request.end();
    let status: unknown;
    request.on("trailers", (trailers) => {
      status = trailers["grpc-status"];
    });
    await once(request, "end");
    assert.equal(status, "0");
    const bytes = Buffer.concat(received);
    const answers: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const end = at + 5 + bytes.readUInt32BE(at + 1);
      answers.push(bytes.subarray(at + 5, end));
      at = end;
    }
    return answers;
  } finally {
    session.destroy();
  }
}

const numbered = (count: number, length: number) =>
  Array.from({ length: count }, (_, n) => {
    const message = Buffer.alloc(length, n);
    message.writeUInt32BE(n, 1);
    return message;
  });

test("a stream that pauses repeatedly gets its messages in order", async () => {
  const messages = numbered(3_000, 45);
  for (const pieces of [1, 7, 400]) assert.deepEqual(await echo(messages, false, pieces), messages);
});

test("padding is granted to a stream again once it has been read", async () => {
  // More padding than a stream's window.
  const messages = numbered(6_000, 20);
  assert.deepEqual(await echo(messages, true, 6_000), messages);
});
