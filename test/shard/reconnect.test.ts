import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { after, test } from "node:test";
import { withDetail } from "../../src/status/error.js";
import { startEtcd } from "../support/etcd.js";
import { until } from "../support/until.js";
import { failureOf, get, shardOf } from "./support.js";

/** A relay process with the shortest accept queue. While it is frozen and its queue full, SYNs get no answer. */
const RELAY = `
  const net = require("node:net");
  const [host, port] = process.argv[1].split(":");
  const server = net.createServer((client) => {
    const etcd = net.connect(Number(port), host);
    for (const socket of [client, etcd]) socket.on("error", () => {}).on("close", () => (client.destroy(), etcd.destroy()));
    client.pipe(etcd).pipe(client);
  });
  server.listen({ host: "127.0.0.1", port: 0, backlog: 1 }, () => console.log(server.address().port));
  process.stdin.resume().on("end", () => process.exit());
`;

const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill("SIGKILL");
});

test("a host that does not answer is reported, and used soon after it is reachable", async () => {
  const etcd = await startEtcd();
  const child = spawn(process.execPath, ["-e", RELAY, etcd.endpoint], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  const [line] = await once(child.stdout!, "data");
  const port = Number(line);
  child.kill("SIGSTOP");
  const fill = Array.from({ length: 4 }, () => connect(port, "127.0.0.1").on("error", () => {}));
  await until(() => fill.filter((socket) => !socket.connecting).length >= 1);

  const shard = shardOf([`127.0.0.1:${port}`], { connectTimeoutMs: 4_000 });
  const error = await failureOf(get(shard, "k"));
  assert.equal(withDetail(error), `shard "a": no endpoint reachable (127.0.0.1:${port}: no answer)`);
  for (const socket of fill) socket.destroy();
  child.kill("SIGCONT");
  const back = Date.now();
  await until(() =>
    get(shard, "k").then(
      () => true,
      () => false,
    ),
  );
  assert.ok(Date.now() - back < 6_000, `in use ${Date.now() - back} ms later`);
  shard.close();
  await etcd.remove();
});
