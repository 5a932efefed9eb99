import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { Transport } from "../../src/config/types.js";
import type { Handlers } from "../../src/rpc/call.js";
import { endpointAddress } from "../../src/shard/address.js";
import type { Link } from "../../src/shard/link.js";
import { openLink } from "../../src/shard/openLink.js";
import { Code, StatusError } from "../../src/status/error.js";
import { serveGrpc } from "../../src/transport/grpc/serve.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import { randomOf } from "./support.js";

const ECHO = "/test.Test/Echo";
const FAIL = "/test.Test/Fail";
const GROW = "/test.Test/Grow";
const STREAM = "/test.Test/Stream";

const TEXTS = [
  "etcdserver: mvcc: required revision has been compacted",
  "",
  'über 100% "x"\n',
  " spaces ",
  "%41",
];

const handlers: Handlers = {
  unary: new Map([
    [
      ECHO,
      (call, request, reply) =>
        reply(undefined, Buffer.concat([Buffer.from(call.metadata.get("note") ?? ""), request])),
    ],
    [FAIL, (_call, request, reply) => reply(new StatusError(request[0] as Code, TEXTS[request[1]]))],
    [
      GROW,
      (_call, request, reply) =>
        setImmediate(() => reply(undefined, Buffer.alloc(request.length * 20, request[0]))),
    ],
  ]),
  stream: new Map([
    [
      STREAM,
      (stream) => {
        // The first message has the number of messages after which to fail; 0 for never.
        let failAfter = -1;
        stream.onMessage((message) => {
          if (failAfter < 0) failAfter = message[0];
          else if (--failAfter === 0) stream.end(new StatusError(Code.ABORTED, "enough"));
          stream.send([message.subarray(0, 1), message]);
        });
        stream.onEnd(() => stream.end());
      },
    ],
  ]),
};

interface Operation {
  readonly path: string;
  readonly note: string | undefined;
  readonly messages: readonly Buffer[];
}

/** The outcome of a call for its client. */
interface Outcome {
  readonly messages: readonly string[];
  readonly code: number;
  readonly details: string;
}

function perform(link: Link, { path, note, messages }: Operation): Promise<Outcome> {
  return new Promise((resolve) => {
    const seen: string[] = [];
    const call = link.begin(path, note === undefined ? undefined : { note }, {
      message: (message) =>
        seen.push(`${message.length} ${createHash("sha1").update(message).digest("hex")}`),
      // The text of a success is arbitrary.
      ended: ({ code, details }) =>
        resolve({ messages: seen, code, details: code === Code.OK ? "" : details }),
    });
    messages.forEach((message, i) => {
      if (i === messages.length - 1) call.sendAndEnd(message);
      else call.send(message);
    });
  });
}

function opened(transport: Transport, address: string): Promise<Link> {
  return new Promise((resolve) => {
    const link: Link = openLink(transport, endpointAddress(address), undefined, {
      changed: (state) => state === "ready" && resolve(link),
      heard: () => {},
    });
    link.connect();
  });
}

test("calls have the same outcome over each pair of client and server", async () => {
  const random = randomOf();
  const bytes = (length: number) => Buffer.alloc(length, random.below(256));
  const size = () =>
    [0, random.below(20), random.below(2_000), 16_379 + random.below(12), random.below(200_000)][
      random.below(5)
    ];
  const operation = (): Operation => {
    const note = random.below(3) === 0 ? `note ${random.below(4)}` : undefined;
    switch (random.below(4)) {
      case 0:
        return { path: ECHO, note, messages: [bytes(size())] };
      case 1:
        return {
          path: FAIL,
          note,
          messages: [Buffer.from([1 + random.below(16), random.below(TEXTS.length)])],
        };
      case 2:
        return { path: GROW, note, messages: [bytes(1 + size())] };
      default: {
        const messages = Array.from({ length: random.below(12) }, () => bytes(1 + size()));
        return { path: STREAM, note, messages: [Buffer.from([random.below(8)]), ...messages] };
      }
    }
  };
  const operations = Array.from({ length: 150 }, operation);
  const outcomes = new Map<string, Outcome[]>();
  for (const serve of [serveGrpc, serveHttp2]) {
    const server = await serve(handlers, { listen: ["127.0.0.1:0"], maxReceiveBytes: 1 << 20 });
    for (const transport of ["grpc-js", "native"] as const) {
      const link = await opened(transport, server.addresses[0]);
      outcomes.set(
        `${transport} to ${serve.name}`,
        await Promise.all(operations.map((each) => perform(link, each))),
      );
      link.close();
    }
    await server.shutdown(0);
  }
  const [[, reference], ...others] = outcomes;
  assert.ok(
    reference.some(({ code }) => code === Code.ABORTED) && reference.some(({ code }) => code === Code.OK),
  );
  for (const [pair, each] of others) {
    each.forEach((outcome, i) => {
      const { path, messages } = operations[i];
      const what = `${pair}: ${path} ${messages.map(({ length }) => length)} (SEED=${random.seed})`;
      assert.deepEqual(outcome, reference[i], what);
    });
  }
});
