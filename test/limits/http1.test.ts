import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { dial, dialMany, flood, GoodClient, withstand } from "./support.js";

let store: TestStore;
let good: GoodClient;

before(async () => {
  store = await startStore({ shards: 2 });
  good = new GoodClient(store.endpoint);
});

after(async () => {
  await good.stop();
  await store.remove();
});

/** Long enough to distinguish a proxy that does not respond from one on a busy machine. */
const WATCHED = { watchedMs: 4_000 };
const version = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";

test("400,000 requests on one connection that is never read and then closed", async () => {
  await withstand(
    store.proxies[0],
    good,
    async () => {
      const socket = dial(store.proxies[0]);
      flood(socket, Buffer.from(version.repeat(1_000)), 400);
      return () => socket.destroy();
    },
    WATCHED,
  );
});

test("20,000 JSON requests on each of 50 connections that are never read", async () => {
  const body = JSON.stringify({ key: Buffer.from("good/client").toString("base64") });
  const range = `POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const requests = Buffer.from(range.repeat(1_000));
  await withstand(
    store.proxies[0],
    good,
    async () => dialMany(store.proxies[0], 50, (socket) => flood(socket, requests, 20)),
    WATCHED,
  );
});

test("10,000 requests behind a long one, on each of 50 connections", async () => {
  const body = JSON.stringify({ create_request: { key: "YQ==" } });
  const watch = `POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  await withstand(
    store.proxies[0],
    good,
    async () =>
      dialMany(store.proxies[0], 50, (socket) => {
        socket.resume();
        socket.write(watch);
        flood(socket, Buffer.from(version.repeat(1_000)), 10);
      }),
    WATCHED,
  );
});

test("100,000 requests sent ahead by a client that reads are all served, in order", async () => {
  const socket = dial(store.proxies[0]);
  const count = 100_000;
  let answers = 0;
  let rest = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("404 page not found\n");
    rest = lines.pop()!;
    answers += lines.length;
  });
  socket.resume();
  flood(socket, Buffer.from("GET /x HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000)), count / 1_000);
  await until("all are answered", () => answers === count);
  assert.equal(rest, "");
  socket.destroy();
});
