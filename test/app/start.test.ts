import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { startProxy } from "../../src/app/proxy.js";
import { createLog } from "../../src/ops/log.js";
import { withEtcds } from "../store/configured.js";
import { until } from "../support/until.js";
import { configOf } from "../watch/support.js";

const sockets = () => process.getActiveResourcesInfo().filter((name) => name.startsWith("TCP")).length;

test("a proxy that cannot listen leaves nothing open", async () => {
  await withEtcds(2, async (etcds) => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as { port: number };
    const before = sockets();
    const config = { ...configOf(etcds), listen: [`127.0.0.1:${port}`], metrics: { listen: "127.0.0.1:0" } };
    await assert.rejects(startProxy(config, createLog("silent")), /address is already in use/);
    await until("all connections are closed", () => sockets() <= before);
    taken.close();
  });
});
