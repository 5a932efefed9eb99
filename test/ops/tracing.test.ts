import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { Flag, FrameType } from "../../src/http2/protocol.js";
import { PutRequest, RangeRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { frame, grpc, RawPeer, requestFields } from "../http2/raw.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";

interface Span {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly status: { readonly code?: number; readonly message?: string };
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[];
}

/** An OpenTelemetry collector that accepts OTLP as JSON. */
class Collector {
  readonly spans: Span[] = [];
  service: unknown;
  body = "";
  private readonly server: Server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => {
      text += chunk;
    });
    request.on("end", () => {
      this.body += text;
      for (const { resource, scopeSpans } of JSON.parse(text).resourceSpans) {
        this.service = resource.attributes.find(({ key }: { key: string }) => key === "service.name").value;
        for (const { spans } of scopeSpans) this.spans.push(...spans);
      }
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });

  async start(): Promise<string> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/v1/traces`;
  }

  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  of(traceId: string): Span[] {
    return this.spans.filter((span) => span.traceId === traceId);
  }
}

const attribute = (span: Span, name: string) =>
  Object.values(span.attributes.find(({ key }) => key === name)?.value ?? {})[0];

describe("tracing", () => {
  const collector = new Collector();
  let store: TestStore;

  before(async () => {
    const endpoint = await collector.start();
    const config = {
      log: { level: "debug" },
      tracing: { endpoint, sampleRatio: 0, serviceName: "braid-under-test" },
    };
    store = await startStore({ shards: 2, config });
  });
  after(async () => {
    await store.remove();
    collector.stop();
  });

  const post = (path: string, body: object, headers: Record<string, string>) =>
    fetch(`http://${store.endpoint}${path}`, { method: "POST", body: JSON.stringify(body), headers });
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const PARENT = "b7ad6b7169203331";
  const traceparent = (trace: string, flags = "01") => ({ traceparent: `00-${trace}-${PARENT}-${flags}` });

  test("a put has spans for the call, the shard's call and the wait for its seal, in the client's trace", async () => {
    const trace = "0af7651916cd43dd8448eb211c80319c";
    const body = { key: base64("/traced"), value: base64("not-to-be-seen") };
    assert.equal((await post("/v3/kv/put", body, traceparent(trace))).status, 200);
    await until("the spans are there", () => collector.of(trace).length >= 3);
    const [server] = collector.of(trace).filter(({ parentSpanId }) => parentSpanId === PARENT);
    assert.equal(server?.name, "etcdserverpb.KV/Put");
    assert.equal(server.kind, 2);
    const inner = collector.of(trace).filter(({ parentSpanId }) => parentSpanId === server.spanId);
    assert.deepEqual(inner.map(({ name }) => name).sort(), ["etcdserverpb.KV/Txn", "timeline seal"]);
    const call = inner.find(({ kind }) => kind === 3)!;
    assert.match(String(attribute(call, "braid.shard")), /^shard[01]$/);
    assert.equal(Number(attribute(server, "rpc.grpc.status_code")), 0);
    assert.deepEqual(collector.service, { stringValue: "braid-under-test" });
    assert.ok(!collector.body.includes("not-to-be-seen"));
  });

  test("a read over several shards has a span for each; a failed span says why", async () => {
    const trace = "1bf7651916cd43dd8448eb211c80319d";
    await post("/v3/kv/range", { key: "AA==", range_end: "AA==" }, traceparent(trace));
    await post("/v3/kv/range", { key: base64("k"), revision: "99999" }, traceparent(trace));
    await until(
      "the spans are there",
      () => collector.of(trace).filter(({ kind }) => kind === 2).length === 2,
    );
    const [scan, failed] = collector.of(trace).filter(({ kind }) => kind === 2) as [Span, Span];
    const shards = collector
      .of(trace)
      .filter(({ parentSpanId, kind }) => parentSpanId === scan.spanId && kind === 3);
    assert.deepEqual(
      new Set(shards.map((span) => attribute(span, "braid.shard"))),
      new Set(["shard0", "shard1"]),
    );
    assert.equal(Number(attribute(failed, "rpc.grpc.status_code")), 11);
    assert.match(failed.status.message ?? "", /future revision/);
    const line = /^.*future revision.*$/m.exec(store.proxies[0]!.logs())?.[0] ?? "{}";
    assert.equal(JSON.parse(line).trace, trace, "the log names the trace");
  });

  test("concurrent calls each have exactly their own spans", async () => {
    const client = await RawPeer.open(store.endpoint);
    let id = -1;
    const request = (path: string, message: Uint8Array, trace?: string): Buffer => {
      id += 2;
      const more =
        trace === undefined ? [] : [{ name: "traceparent", value: traceparent(trace).traceparent }];
      const head = client.headers(id, [...requestFields(path), ...more]);
      return Buffer.concat([head, frame(FrameType.DATA, Flag.END_STREAM, id, grpc(message))]);
    };
    // Equal calls would share an answer.
    const read = (trace?: string) =>
      request(KV.Range, RangeRequest.encode({ key: Buffer.from(`/traced/${id}`) }), trace);
    const put = (trace?: string) =>
      request(KV.Put, PutRequest.encode({ key: Buffer.from("/traced") }), trace);
    const [ofPut, first, second] = ["4", "5", "6"].map((digit) => digit.repeat(32)) as [
      string,
      string,
      string,
    ];
    client.write(Buffer.concat([put(ofPut), read(), read(), read(first), read(), read(second)]));
    for (let each = 1; each <= id; each += 2)
      await client.frame(
        ({ type, flags, id }) => type === FrameType.HEADERS && id === each && (flags & Flag.END_STREAM) > 0,
      );
    client.socket.destroy();
    const spans = (trace: string) => collector.of(trace).map(({ name, kind }) => `${kind} ${name}`);
    const traces = [ofPut, first, second];
    await until("the calls are there", () =>
      traces.every((trace) => spans(trace).some((span) => span[0] === "2")),
    );
    assert.deepEqual(spans(ofPut).sort(), [
      "1 timeline seal",
      "2 etcdserverpb.KV/Put",
      "3 etcdserverpb.KV/Txn",
    ]);
    for (const trace of [first, second]) {
      const calls = spans(trace).filter((span) => !span.startsWith("1"));
      assert.deepEqual(calls.sort(), ["2 etcdserverpb.KV/Range", "3 etcdserverpb.KV/Range"]);
    }
  });

  test("traces that the client or the ratio does not sample are not sent", async () => {
    const trace = "2cf7651916cd43dd8448eb211c80319e";
    const count = collector.spans.length;
    await post("/v3/kv/range", { key: base64("k") }, traceparent(trace, "00"));
    await post("/v3/kv/range", { key: base64("k") }, {});
    await post("/v3/kv/range", { key: base64("k") }, { traceparent: "nonsense" });
    // The proxy sends its remaining spans when it stops.
    const last = "3df7651916cd43dd8448eb211c80319f";
    await post("/v3/kv/range", { key: base64("k") }, traceparent(last));
    assert.equal(await store.proxies[0]!.stop(), 0);
    assert.equal(collector.of(last).filter(({ kind }) => kind === 2).length, 1);
    assert.equal(collector.spans.length, count + collector.of(last).length);
  });
});
