import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Scrape } from "../ops/scrape.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { consoleConfig, Visitor } from "./support.js";

describe("the console of a proxy with several workers", () => {
  let store: TestStore;
  let visitor: Visitor;

  before(async () => {
    const config = await consoleConfig({ password: "workers-secret" });
    store = await startStore({ shards: 1, config: { ...config, workers: 2 } });
    visitor = new Visitor(config.metrics.listen);
  });
  after(() => store.remove());

  test("a session lasts over connections, and the numbers are those of all workers", async () => {
    assert.equal((await visitor.login("", "workers-secret")).status, 200);
    // Each of these requests has a connection of its own.
    for (let i = 0; i < 10; i++) assert.equal((await visitor.api("session")).json.isSignedIn, true);
    const puts = 40;
    for (let i = 0; i < puts; i++) {
      const headers = { connection: "close" };
      const body = JSON.stringify({ key: Buffer.from(`/a/${i}`).toString("base64") });
      assert.ok((await fetch(`http://${store.endpoint}/v3/kv/put`, { method: "POST", headers, body })).ok);
    }
    await until("all are counted", async () => {
      const { json } = await visitor.api("overview");
      return json.workers === 2 && json.revision === puts + 1;
    });
    const scrape = await Scrape.of(`http://${visitor.address}/metrics`);
    assert.equal(scrape.sum("braid_requests_total", { method: "KV.Put" }), puts);
    assert.equal((await visitor.api("watches")).json.workers, 2);
  });
});
