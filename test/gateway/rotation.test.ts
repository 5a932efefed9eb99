import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServerStream } from "../../src/rpc/call.js";
import { ConnectionStats } from "../../src/stats/connections.js";
import { WatchRequest } from "../../src/wire/messages.js";
import { open, serve } from "./serve.js";

/** A body of `count` messages. */
const body = (count: number) =>
  Array.from({ length: count }, (_, i) => `{"create_request":{"watch_id":${i}}}`).join("");

const idOf = (message: Uint8Array): number => {
  const request = WatchRequest.decode(message);
  return request.kind === "create" ? request.request.watchId : -1;
};

/** Resolves when the client's half of every stream of `count` has ended. */
function ends(count: number) {
  let open = count;
  let done = () => {};
  const all = new Promise<void>((resolve) => {
    done = resolve;
  });
  const ended = () => {
    if (--open === 0) done();
  };
  return { all, ended };
}

test("streams with many messages take turns, and deliver only some in each turn of the event loop", async () => {
  const streams = 3;
  const messages = 20_000;
  const got = new Map<ServerStream, number>();
  let turn = 0;
  let most = 0;
  let ahead = 0;
  const timer = { stop: false };
  const count = () => {
    turn = 0;
    if (!timer.stop) setImmediate(count);
  };
  const { all, ended } = ends(streams);
  const { endpoint } = await serve({
    watch: (stream) => {
      got.set(stream, 0);
      stream.onMessage((message) => {
        assert.equal(idOf(message), got.get(stream), "in order");
        got.set(stream, got.get(stream)! + 1);
        most = Math.max(most, ++turn);
      });
      stream.onEnd(() => {
        // When the first one ends, the others are almost as far.
        if (ahead === 0) ahead = got.get(stream)! - Math.min(...got.values());
        ended();
      });
    },
  });
  count();
  const text = body(messages);
  for (let i = 0; i < streams; i++) open(endpoint, "/v3/watch").sent.end(text);
  await all;
  timer.stop = true;
  assert.deepEqual([...got.values()], Array(streams).fill(messages));
  assert.ok(most <= 128, `${most} messages in one turn`);
  assert.ok(ahead < messages, `another stream had ${ahead} messages less`);
});

test("a handler that pauses often gets all messages, and no more of the body is read than it takes", async () => {
  const messages = 30_000;
  const connections = new ConnectionStats();
  let got = 0;
  let most = 0;
  const { all, ended } = ends(1);
  const { endpoint } = await serve(
    {
      watch: (stream) => {
        stream.onMessage((message) => {
          assert.equal(idOf(message), got++, "in order");
          most = Math.max(most, connections.requests.bytes);
          if (got % 100 > 0) return;
          stream.pause();
          setImmediate(() => stream.resume());
        });
        stream.onEnd(ended);
      },
    },
    { connections },
  );
  open(endpoint, "/v3/watch").sent.end(body(messages));
  await all;
  assert.equal(got, messages);
  assert.ok(most < 128 * 1024, `${most} bytes waited`);
});
