import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { ErrorCode, Flag, FrameType, PREFACE, Setting } from "../../src/http2/protocol.js";
import { REFUSALS, type Refusal } from "../../src/stats/connections.js";
import { RangeRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { frame, grpc, RawPeer, requestFields, setting, uint32 } from "../http2/raw.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { Scrape } from "./scrape.js";

/* Each reason to refuse a client is counted on the metrics page, while all other clients are served. */

const READ = grpc(RangeRequest.encode({ key: Buffer.from("/key") }));
const PING = frame(FrameType.PING, 0, 0, Buffer.alloc(8));
const RESET = uint32(ErrorCode.CANCEL);

let store: TestStore;

before(async () => {
  store = await startStore({ shards: 1, config: { limits: { maxConnections: 8 } } });
});
after(() => store.remove());

async function refused(): Promise<Record<Refusal, number>> {
  const page = await Scrape.of(`http://${store.endpoint}/metrics`);
  const count = (reason: Refusal) => page.of("braid_connections_refused_total", { reason })[0]!.value;
  return Object.fromEntries(REFUSALS.map((reason) => [reason, count(reason)])) as Record<Refusal, number>;
}

async function reads(client: RawPeer): Promise<void> {
  client.write(client.headers(1, requestFields(KV.Range)), frame(FrameType.DATA, Flag.END_STREAM, 1, READ));
  await client.frame((each) => each.type === FrameType.DATA && each.id === 1);
}

const dial = (): Socket =>
  connect({ host: "127.0.0.1", port: store.proxies[0]!.port })
    .on("error", () => {})
    .resume();

const attacks: Partial<Record<Refusal, (client: RawPeer) => void>> = {
  resets: (client) => {
    for (let id = 1; id < 20_000; id += 2) {
      client.write(client.headers(id, requestFields(KV.Range)), frame(FrameType.RST_STREAM, 0, id, RESET));
    }
  },
  empty_frames: (client) => client.write(...Array.from({ length: 25_000 }, () => PING)),
  header_block: (client) => {
    client.write(frame(FrameType.HEADERS, 0, 1));
    client.write(...Array.from({ length: 1_000 }, () => frame(FrameType.CONTINUATION, 0, 1)));
  },
  protocol: (client) => client.write(frame(FrameType.DATA, 0, 0)),
};

for (const [reason, attack] of Object.entries(attacks)) {
  test(`a client closed for "${reason}" is counted once under it; others are served`, async () => {
    const earlier = await refused();
    const other = await RawPeer.open(store.endpoint);
    const client = await RawPeer.open(store.endpoint);
    attack(client);
    await client.end();
    await reads(other);
    other.socket.destroy();
    assert.deepEqual(await refused(), { ...earlier, [reason]: earlier[reason as Refusal] + 1 });
  });
}

test("bytes that are not HTTP are counted", async () => {
  const earlier = await refused();
  const socket = dial();
  socket.write("\u0016\u0003\u0001 this is none\r\n\r\n");
  await once(socket, "close");
  assert.deepEqual(await refused(), { ...earlier, malformed: earlier.malformed + 1 });
});

test("connections beyond the limit are counted, and there is room again when others end", async () => {
  const earlier = await refused();
  const open = Array.from({ length: 10 }, () => dial());
  for (const socket of open) socket.write(Buffer.concat([PREFACE, frame(FrameType.SETTINGS, 0, 0)]));
  // The metrics page also needs a connection.
  await until("two are refused", () => open.filter(({ closed }) => closed).length >= 2);
  for (const socket of open) socket.destroy();
  await until("there is room again", async () => {
    try {
      const client = await RawPeer.open(store.endpoint);
      await reads(client);
      client.socket.destroy();
      return true;
    } catch {
      return false;
    }
  });
  assert.ok((await refused()).limit - earlier.limit >= 2);
});

test("bytes queued for a client that does not read are shown until it is gone", async () => {
  const put = await fetch(`http://${store.endpoint}/v3/kv/put`, {
    method: "POST",
    body: JSON.stringify({
      key: Buffer.from("/key").toString("base64"),
      value: Buffer.alloc(1 << 20, "v").toString("base64"),
    }),
  });
  assert.equal(put.status, 200);
  const queued = async () =>
    (await Scrape.of(`http://${store.endpoint}/metrics`)).of("braid_connections_queued_bytes", {})[0]!.value;
  const client = await RawPeer.open(store.endpoint, setting(Setting.INITIAL_WINDOW_SIZE, 0));
  for (let id = 1; id < 8; id += 2)
    client.write(
      client.headers(id, requestFields(KV.Range)),
      frame(FrameType.DATA, Flag.END_STREAM, id, READ),
    );
  await until("its answers wait", async () => (await queued()) > 3 << 20);
  client.socket.destroy();
  await until("they are gone", async () => (await queued()) === 0);
});
