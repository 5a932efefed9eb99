import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { test } from "node:test";
import { placeOfJoining } from "../../src/app/store/places.js";
import { parseConfig } from "../../src/config/load.js";
import {
  AuthUserAddRequest,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  PutRequest,
  RangeRequest,
} from "../../src/wire/messages.js";
import { Auth, KV, Lease } from "../../src/wire/paths.js";
import { AuthClient, OK } from "../auth/client.js";
import { addRoots, CHEAP, OWN, ok } from "../auth/support.js";
import { Scrape } from "../ops/scrape.js";
import { Authority } from "../support/certificates.js";
import { startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { startTlsEtcd } from "../support/tlsEtcd.js";
import { until } from "../support/until.js";
import { bytes } from "../watch/support.js";
import { Joining } from "./joining.js";

/* TLS and users of a shard that joins while a proxy runs. */

test("the settings of a shard that joins are those of its name in the file, or else those of all", () => {
  const config = parseConfig(
    JSON.stringify({
      shards: [
        {
          name: "a",
          endpoints: ["https://a:1"],
          tls: { serverName: "own" },
          auth: { user: "u", password: "p" },
        },
        { name: "b", endpoints: ["b:1"] },
      ],
      shardTls: { caFile: "/ca" },
    }),
    "test",
  );
  const join = (name: string, endpoint: string) => placeOfJoining({ name, endpoints: [endpoint] }, config);
  assert.deepEqual(join("new", "https://c:1"), {
    name: "new",
    endpoints: ["https://c:1"],
    joins: true,
    tls: { caFile: "/ca" },
  });
  assert.deepEqual(join("new", "c:1"), { name: "new", endpoints: ["c:1"], joins: true });
  const { tls, auth } = join("a", "https://c:1");
  assert.deepEqual(tls, { caFile: "/ca", serverName: "own" });
  assert.equal(auth?.user, "u");
});

test("TLS: new certificate files reach a shard that has joined, and one that could not be opened before", async () => {
  const authority = new Authority();
  const own = authority.issue();
  const etcds = await Promise.all([0, 1, 2].map(() => startTlsEtcd(authority.issue(), authority.caFile)));
  const [, , third] = etcds;
  const { caFile } = authority;
  const shardTls = { caFile, ...own };
  const open = () =>
    Joining.open(
      etcds.slice(0, 2).map(({ url }) => url),
      { shardTls },
    );
  const joining = await open();
  const expiry = async () => {
    const page = await Scrape.of(`http://${joining.proxy.addresses[0]}/metrics`);
    return page.sum("braid_tls_certificate_expiry_timestamp_seconds", { use: "shard", shard: "shard2" });
  };
  try {
    const shard = await joining.prepare(third!.etcd, { endpoint: third!.url });
    renameSync(caFile, `${caFile}.away`);
    await joining.join(shard);
    await assert.rejects(joining.client.set("c/x", "1"), /UNAVAILABLE: shard "shard2": cannot be opened$/);
    await joining.client.set("a/x", "1");
    assert.equal(await expiry(), 0);
    renameSync(`${caFile}.away`, caFile);
    joining.proxy.reload(joining.config);
    await joining.client.set("c/x", "2");
    const before = await expiry();
    authority.reissue(own, { hours: 5 });
    joining.proxy.reload(joining.config);
    assert.ok((await expiry()) > before + 3_600);
    await joining.client.set("c/x", "3");
  } finally {
    await joining.close();
    await Promise.all(etcds.map(({ etcd }) => etcd.remove()));
  }
});

test("TLS: a shard that could not be opened is tried again", async () => {
  const authority = new Authority();
  const etcds = await Promise.all([0, 1, 2].map(() => startTlsEtcd(authority.issue())));
  const { caFile } = authority;
  const joining = await Joining.open(
    etcds.slice(0, 2).map(({ url }) => url),
    { shardTls: { caFile } },
  );
  try {
    const watch = joining.client.watch();
    await watch.create({ key: bytes("c/x") });
    const shard = await joining.prepare(etcds[2]!.etcd, { endpoint: etcds[2]!.url });
    renameSync(caFile, `${caFile}.away`);
    await joining.join(shard);
    await assert.rejects(joining.client.set("c/x", "1"), /cannot be opened/);
    renameSync(`${caFile}.away`, caFile);
    await until("the shard is open", () =>
      joining.client.set("c/x", "2").then(
        () => true,
        () => false,
      ),
    );
    await watch.until("the event", () => watch.eventsOf(0).length === 1);
    watch.close();
  } finally {
    await joining.close();
    await Promise.all(etcds.map(({ etcd }) => etcd.remove()));
  }
});

test("authentication: a shard that joins lets the proxy and its clients in by its own rules", async () => {
  const etcds = await startEtcds(3, CHEAP);
  const [, , third] = etcds;
  const guard = async ({ endpoint }: { readonly endpoint: string }) => {
    await addRoots(endpoint);
    for (const command of [
      "user add app:secret",
      "role add some",
      "role grant-permission some readwrite --prefix a/",
      "user grant-role app some",
      "auth enable",
    ]) {
      await ok(etcdctl(endpoint, ...command.split(" ")));
    }
  };
  await Promise.all(etcds.slice(0, 2).map(guard));
  const joining = await Joining.open(
    etcds.slice(0, 2).map(({ endpoint }) => endpoint),
    { auth: OWN },
  );
  const client = new AuthClient(joining.proxy.addresses[0]!);
  const direct = new AuthClient(third!.endpoint);
  try {
    // Both have logged in before the shard joins.
    const root = await client.login("root", "root-secret-42");
    const app = await client.login("app", "secret");
    const addUser = (name: string) => AuthUserAddRequest.encode({ name, password: "secret" });
    assert.deepEqual(await client.outcome(Auth.UserAdd, addUser("early"), root), OK);
    const shard = await joining.prepare(third!);
    await guard(third!);
    await joining.join(shard);
    const put = (key: string, lease = 0n) => PutRequest.encode({ key: bytes(key), lease });
    assert.deepEqual(await client.outcome(KV.Put, put("c/x"), root), OK);
    assert.deepEqual(await client.outcome(KV.Put, put("a/x"), app), OK);
    assert.match((await client.outcome(KV.Put, put("c/x"), app)).message, /permission denied/);
    const range = RangeRequest.encode({ key: bytes("a"), rangeEnd: bytes("z") });
    assert.deepEqual(await client.outcome(KV.Range, range, root), OK);
    assert.match((await client.outcome(KV.Range, range, app)).message, /permission denied/);
    assert.equal((await client.watch({ key: bytes("c/x") }, root)).canceled, false);
    assert.equal((await client.watch({ key: bytes("c/x") }, app)).canceled, true);
    const { id } = LeaseGrantResponse.decode(
      await client.call(Lease.LeaseGrant, LeaseGrantRequest.encode({ ttl: 600 }), root),
    );
    assert.deepEqual(await client.outcome(KV.Put, put("c/l", id), root), OK);
    assert.equal(await renew(client, id, root), 600);
    // A change reaches all shards, and a new user logs in at all of them.
    assert.deepEqual(await client.outcome(Auth.UserAdd, addUser("late"), root), OK);
    await direct.login("late", "secret");
    await client.login("late", "secret");
    await assert.rejects(
      client.login("early", "secret"),
      /do not agree on user "early": .*shard "shard2" refuses/,
    );
  } finally {
    client.close();
    direct.close();
    await joining.close();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
});

/** Sends one keep-alive. Resolves to the TTL in seconds. */
function renew(client: AuthClient, id: bigint, token: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const events = {
      message(message: Uint8Array) {
        stream.cancel();
        resolve(LeaseKeepAliveResponse.decode(message).ttl);
      },
      closed: reject,
    };
    const stream = client.connection.stream(Lease.LeaseKeepAlive, events, { metadata: { token } });
    stream.send(LeaseKeepAliveRequest.encode({ id }));
  });
}
