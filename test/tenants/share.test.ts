import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PutRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { AuthClient, OK } from "../auth/client.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";

// Nothing is added to what was saved up during a test.
const tenant = (name: string, putsPerSecond: number) => ({
  name,
  prefix: `/${name}/`,
  limits: { putsPerSecond, burstSeconds: 1000 },
});

let store: TestStore;
let clients: AuthClient[];

before(async () => {
  const tenants = [tenant("probe", 0.001), tenant("shared", 0.012)];
  store = await startStore({
    shards: 2,
    proxies: 2,
    config: (proxy) => ({ tenants, workers: proxy === 0 ? 2 : 1 }),
  });
  const [first, second] = store.proxies;
  // The connections to a proxy are dealt out to its workers in turn.
  clients = [first!, first!, second!].map(({ endpoint }) => new AuthClient(endpoint));
});

after(async () => {
  for (const client of clients ?? []) client.close();
  await store?.remove();
});

const put = (client: AuthClient, key: string) =>
  client.outcome(KV.Put, PutRequest.encode({ key: Buffer.from(key), value: Buffer.from("v") }));

test("limits are divided between the workers and proxies that write", async () => {
  await until("all know each other", async () => {
    const probes = await Promise.all(
      clients.map(async (client) => {
        await put(client, "/free");
        return (await put(client, "/probe/key")).message;
      }),
    );
    return probes.every((text) => text.includes("(putsPerSecond, divided between 3 processes)"));
  });
  for (const client of clients) {
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => put(client, "/shared/key")));
    assert.equal(outcomes.filter(({ code }) => code === OK.code).length, 4);
  }
});
