import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { Call, ServerStream, UnaryHandler } from "../../src/rpc/call.js";
import { Code, StatusError } from "../../src/status/error.js";
import { PutRequest, PutResponse, WatchRequest, WatchResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { line, open, PROBES, serve } from "./serve.js";
import { ask } from "./support.js";

const created = (watchId: number) => WatchResponse.encode({ watchId, created: true });

test("the token, the request's id and headers with the prefix become metadata, others do not", async () => {
  let call: Call | undefined;
  const { endpoint } = await serve({
    put: (given, _request, reply) => {
      call = given;
      reply(undefined, PutResponse.encode({}));
    },
  });
  const headers = {
    Authorization: "abc.1",
    "Grpc-Metadata-Token": "def.2",
    "X-Request-Id": "r1",
    "X-Other": "no",
    token: "no",
  };
  const { status, text } = await ask(endpoint, { path: "/v3/kv/put", body: "{}", headers });
  assert.deepEqual([status, text], [200, "{}"]);
  const names = ["authorization", "token", "x-request-id", "x-other", "content-type"];
  assert.deepEqual(
    names.map((name) => call?.metadata.get(name)),
    ["abc.1", "def.2", "r1", undefined, undefined],
  );
  assert.equal(call?.path, KV.Put);
  assert.equal(call?.deadline, Number.POSITIVE_INFINITY);
});

test("a deadline ends the call and cancels the handler", async () => {
  let cancelled = 0;
  const { endpoint } = await serve({
    put: (call) => void call.onCancel(() => cancelled++),
  });
  const answer = await ask(endpoint, { path: "/v3/kv/put", body: "{}", headers: { "grpc-timeout": "20m" } });
  assert.equal(answer.status, 504);
  assert.deepEqual(JSON.parse(answer.text), {
    error: "context deadline exceeded",
    message: "context deadline exceeded",
    code: 4,
  });
  assert.equal(cancelled, 1);
});

test("a client that disconnects cancels its calls", async () => {
  const calls: Call[] = [];
  const gone: Promise<void>[] = [];
  let arrived = () => {};
  const both = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const take = (call: Call) => {
    gone.push(new Promise<void>((resolve) => void call.onCancel(resolve)));
    if (calls.push(call) === 2) arrived();
  };
  const { endpoint } = await serve({ put: take, watch: take });
  const unary = open(endpoint, "/v3/kv/put");
  unary.sent.end("{}");
  const stream = open(endpoint, "/v3/watch");
  stream.sent.write("{}");
  await both;
  assert.deepEqual(
    calls.map((call) => call.cancelled),
    [false, false],
  );
  unary.sent.destroy();
  stream.sent.destroy();
  await Promise.all(gone);
  assert.deepEqual(
    calls.map((call) => call.cancelled),
    [true, true],
  );
});

test("a stream responds while its body is open, and goes on after the body's end", async () => {
  let stream: ServerStream | undefined;
  let ended = () => {};
  const end = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const { endpoint } = await serve({
    watch: (given) => {
      stream = given;
      stream.onEnd(() => ended());
      stream.onMessage((message) => {
        const request = WatchRequest.decode(message);
        assert.equal(request.kind, "create");
        if (request.kind === "create") given.send([created(request.request.watchId)]);
      });
    },
  });
  const { sent, response } = open(endpoint, "/v3/watch");
  sent.write('{"create_request":{"watch_id":7}}{"createReq');
  const answer = await response;
  assert.equal(answer.statusCode, 200);
  assert.equal(answer.headers["content-type"], "application/json");
  assert.deepEqual(await line(answer), { result: { watch_id: "7", created: true } });
  sent.end('uest":{"watchId":"8"}}');
  assert.deepEqual(await line(answer), { result: { watch_id: "8", created: true } });
  await end;
  // A message in parts, as watches send them.
  const parts = WatchResponse.encode({ watchId: 9, created: true });
  stream!.send([parts.subarray(0, 2), parts.subarray(2)]);
  assert.deepEqual(await line(answer), { result: { watch_id: "9", created: true } });
  stream!.end(new StatusError(Code.OUT_OF_RANGE, "too far"));
  assert.deepEqual(JSON.parse((await answer.toArray()).join("")), {
    error: { grpc_code: 11, http_code: 400, message: "too far", http_status: "Bad Request" },
  });
});

test("a malformed message after the first one ends only the input", async () => {
  let messages = 0;
  let stream: ServerStream | undefined;
  const { endpoint } = await serve({
    watch: (given) => {
      stream = given;
      given.onMessage(() => messages++);
      given.onEnd(() => given.send([created(1)]));
    },
  });
  const { sent, response } = open(endpoint, "/v3/watch");
  sent.write('{} {"create_request":5} {}');
  assert.deepEqual(await line(await response), { result: { watch_id: "1", created: true } });
  assert.equal(messages, 1);
  assert.equal(stream?.cancelled, false);
});

test("a paused handler gets no message until it resumes", async () => {
  const got: string[] = [];
  let stream: ServerStream | undefined;
  let arrived = () => {};
  const first = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  let ended = () => {};
  const end = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const { endpoint } = await serve({
    watch: (given) => {
      stream = given;
      given.onMessage((message) => {
        got.push(WatchRequest.decode(message).kind);
        given.pause();
        arrived();
      });
      given.onEnd(() => ended());
    },
  });
  const { sent } = open(endpoint, "/v3/watch");
  sent.end('{"progress_request":{}}{"create_request":{}}{"cancel_request":{}}');
  await first;
  assert.deepEqual(got, ["progress"]);
  stream!.resume();
  assert.deepEqual(got, ["progress", "create"]);
  stream!.resume();
  assert.deepEqual(got, ["progress", "create", "cancel"]);
  stream!.resume();
  await end;
});

test("the handler notices that a client is slow to read, and that it reads again", async () => {
  const value = Buffer.alloc(50_000, "x");
  const message = WatchResponse.encode({ events: [{ type: 0, kv: { key: value, value } }] });
  let sends = 0;
  let drained = () => {};
  const drain = new Promise<void>((resolve) => {
    drained = resolve;
  });
  let full = () => {};
  const blocked = new Promise<void>((resolve) => {
    full = resolve;
  });
  let stream: ServerStream | undefined;
  const { endpoint } = await serve(
    {
      watch: (given) => {
        stream = given;
        given.onDrain(() => drained());
        const fill = () => {
          sends++;
          if (given.send([message])) setImmediate(fill);
          else full();
        };
        given.onMessage(fill);
      },
    },
    { highWaterBytes: 200_000 },
  );
  const { sent, response } = open(endpoint, "/v3/watch");
  sent.write("{}");
  const answer = await response;
  await blocked;
  assert.ok(stream!.queuedBytes > 200_000);
  let lines = 0;
  answer.setEncoding("latin1").on("data", (text: string) => {
    lines += text.split("\n").length - 1;
  });
  await drain;
  assert.equal(stream!.queuedBytes, 0);
  stream!.end();
  await once(answer, "end");
  assert.equal(lines, sends);
});

test("stop ends streams with UNAVAILABLE and lets unary calls finish", async () => {
  let reply: Parameters<UnaryHandler>[2] | undefined;
  let begun = () => {};
  const put = new Promise<void>((resolve) => {
    begun = resolve;
  });
  let cancelled = 0;
  const { endpoint, gateway } = await serve({
    put: (_call, _request, given) => {
      reply = given;
      begun();
    },
    watch: (stream) => {
      stream.onCancel(() => cancelled++);
      stream.onMessage(() => stream.send([created(1)]));
    },
  });
  const unary = ask(endpoint, { path: "/v3/kv/put", body: "{}" });
  const { sent, response } = open(endpoint, "/v3/watch");
  sent.write("{}");
  const answer = await response;
  await line(answer);
  await put;
  gateway.stop();
  assert.deepEqual(JSON.parse((await answer.toArray()).join("")), {
    error: {
      grpc_code: 14,
      http_code: 503,
      message: "etcdserver: server stopped",
      http_status: "Service Unavailable",
    },
  });
  assert.equal(cancelled, 1);
  assert.equal((await ask(endpoint, { path: "/v3/watch", body: "{}" })).status, 503);
  reply!(undefined, PutResponse.encode({}));
  assert.equal((await unary).status, 200);
});

test("an oversized message or text is refused", async () => {
  let largest = 0;
  const { endpoint } = await serve({
    put: (_call, request, reply) => {
      largest = PutRequest.decode(request).value.length;
      reply(undefined, PutResponse.encode({}));
    },
    watch: () => {},
  });
  const put = (bytes: number) =>
    ask(endpoint, { path: "/v3/kv/put", body: `{"value":"${Buffer.alloc(bytes).toString("base64")}"}` });
  assert.equal((await put(99_990)).status, 200);
  assert.equal(largest, 99_990);
  const message = await put(100_000);
  assert.equal(message.status, 429);
  assert.match(
    JSON.parse(message.text).message,
    /^grpc: received message larger than max \(100004 vs\. 100000\)$/,
  );
  const blank = " ".repeat(200_001);
  const text = await ask(endpoint, { path: "/v3/kv/put", body: blank });
  assert.deepEqual([text.status, JSON.parse(text.text).code], [429, 8]);
  // An object that never ends.
  const endless = open(endpoint, "/v3/watch");
  endless.sent.write(`{"x":"${blank}`);
  const answer = await endless.response;
  assert.equal(answer.statusCode, 429);
  assert.equal(answer.headers.connection, "close");
});

test("CORS and allowed hosts work as in etcd", async () => {
  const ok: UnaryHandler = (_call, _request, reply) => reply(undefined, PutResponse.encode({}));
  const put = { path: "/v3/kv/put", body: "{}" };
  const allowed = "access-control-allow-origin";

  const closed = await serve({ put: ok });
  const headers = { origin: "http://a.example" };
  assert.equal((await ask(closed.endpoint, { ...put, headers })).headers[allowed], undefined);

  const some = await serve(
    { put: ok },
    { access: { cors: ["http://a.example"], hosts: ["etcd.example", "::1"] } },
  );
  const from = (origin: string, host: string) =>
    ask(some.endpoint, { ...put, headers: { origin, host } }).then(({ status, headers }) => [
      status,
      headers[allowed],
    ]);
  assert.deepEqual(await from("http://a.example", "etcd.example:2379"), [200, "http://a.example"]);
  assert.deepEqual(await from("http://b.example", "etcd.example"), [200, undefined]);
  assert.deepEqual(await from("http://a.example", "[::1]:2379"), [200, "http://a.example"]);
  assert.deepEqual(await from("http://a.example", "evil.example"), [421, undefined]);

  const all = await serve({ put: ok }, { access: { cors: ["*"], hosts: ["*"] } });
  const preflight = await ask(all.endpoint, {
    method: "OPTIONS",
    path: "/v3/kv/put",
    headers: { host: "x" },
  });
  assert.deepEqual([preflight.status, preflight.headers[allowed]], [200, "*"]);
  assert.equal(preflight.headers["access-control-allow-headers"], "accept, content-type, authorization");
  assert.equal(preflight.headers["access-control-allow-methods"], "POST, GET, OPTIONS, PUT, DELETE");
});

test("pages report versions and failed checks", async () => {
  const page = async () => ({ contentType: "text/plain; version=0.0.4", body: "up 1\n" });
  const { endpoint } = await serve({}, { extra: new Map([["/metrics", page]]) });
  const get = async (path: string) => {
    const { status, text } = await ask(endpoint, { method: "GET", path });
    return [status, text];
  };
  assert.deepEqual(await get("/version"), [200, '{"etcdserver":"3.5.7","etcdcluster":"3.5.0"}']);
  for (const storage of ["3.6.0", ""]) {
    const versions = async () => ({ server: "3.6.16", storage });
    const newer = await serve({}, { probes: { ...PROBES, versions } });
    const { text } = await ask(newer.endpoint, { method: "GET", path: "/version" });
    const expected = { etcdserver: "3.6.16", etcdcluster: "3.6.0", storage: storage || "unknown" };
    assert.equal(text, JSON.stringify(expected));
  }
  assert.deepEqual(await get("/metrics"), [200, "up 1\n"]);
  const reason = 'RANGE ERROR:shard \\"a\\": gone';
  assert.deepEqual(await get("/health"), [503, `{"health":"false","reason":"${reason}"}\n`]);
  assert.deepEqual(await get("/health?serializable=true"), [200, '{"health":"true","reason":""}']);
  const [status, text] = await get("/readyz");
  assert.equal(status, 503);
  assert.match(String(text), /^\[-\]linearizable_read failed: shard "a": gone$/m);
  assert.match(String(text), /^\[\+\]data_corruption ok$/m);
  assert.deepEqual(await get("/readyz?exclude=linearizable_read"), [200, "ok\n"]);
  assert.deepEqual(await get("/livez?verbose"), [200, "[+]serializable_read ok\nok\n"]);
});
