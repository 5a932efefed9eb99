import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, mock, test } from "node:test";
import { Callers } from "../../src/auth/callers.js";
import { Seal } from "../../src/auth/seal.js";
import {
  AuthRoleAddRequest,
  AuthRoleGrantPermissionRequest,
  AuthUserAddRequest,
  AuthUserGrantRoleRequest,
  EMPTY,
  PutRequest,
  RangeRequest,
  RangeResponse,
} from "../../src/wire/messages.js";
import { Auth, KV } from "../../src/wire/paths.js";
import { temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { shardSet } from "../support/shardSet.js";
import { startStore, type TestStore } from "../support/store.js";
import { AuthClient, OK } from "./client.js";
import { addRoots, CHEAP, OWN, ok, ROOT } from "./support.js";

const bytes = (text: string) => Buffer.from(text);
const KEYS = ["/a0/x", "/a1/x", "/a2/x", "/a3/x"];

let host: EtcdProcess;
let shards: EtcdProcess[];
let store: TestStore;
let one: AuthClient;
let two: AuthClient;

/** Shards with JWT tokens, and a dedicated timeline host with another user. */
before(async () => {
  const folder = temporaryFolder();
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(join(folder, "key.pem"), privateKey.export({ type: "pkcs1", format: "pem" }));
  writeFileSync(join(folder, "pub.pem"), publicKey.export({ type: "spki", format: "pem" }));
  const jwt = `jwt,pub-key=${join(folder, "pub.pem")},priv-key=${join(folder, "key.pem")},sign-method=RS256,ttl=10m`;
  const flags = [...CHEAP.flags, "--auth-token", jwt];
  [shards, [host]] = (await Promise.all([startEtcds(2, { flags }), startEtcds(1, CHEAP)])) as [
    EtcdProcess[],
    [EtcdProcess],
  ];
  for (const { endpoint } of shards) await addRoots(endpoint);
  for (const user of ["root", "keeper"]) {
    await ok(etcdctl(host.endpoint, "user", "add", `${user}:${user}-host-secret`));
    await ok(etcdctl(host.endpoint, "user", "grant-role", user, "root"));
  }
  for (const { endpoint } of [...shards, host]) await ok(etcdctl(endpoint, "auth", "enable"));
  const timeline = { endpoints: [host.endpoint], auth: { user: "keeper", password: "keeper-host-secret" } };
  const config = { auth: { ...OWN, tokenKey: "a key that all proxies have" }, timeline };
  store = await startStore({ backends: shards, proxies: 2, config });
  [one, two] = store.proxies.map(({ endpoint }) => new AuthClient(endpoint)) as [AuthClient, AuthClient];
});
after(async () => {
  one?.close();
  two?.close();
  await store?.remove();
  await Promise.all([...shards, host].map((etcd) => etcd.remove()));
});

test("shards with JWTs and a timeline host with authentication: changes of users end the shards' tokens, but not the client's", async () => {
  const [name, password] = ROOT.split(":") as [string, string];
  const root = await one.login(name, password);
  await one.call(Auth.UserAdd, AuthUserAddRequest.encode({ name: "app", password: "app-secret" }), root);
  await one.call(Auth.RoleAdd, AuthRoleAddRequest.encode({ name: "apps" }), root);
  await one.call(Auth.UserGrantRole, AuthUserGrantRoleRequest.encode({ user: "app", role: "apps" }), root);
  const perm = { permType: 2, key: bytes("/a"), rangeEnd: bytes("/b") };
  await one.call(
    Auth.RoleGrantPermission,
    AuthRoleGrantPermissionRequest.encode({ name: "apps", perm }),
    root,
  );
  const app = await one.login("app", "app-secret");
  for (let i = 0; i < 3; i++) {
    for (const client of [one, two]) {
      for (const key of KEYS) {
        assert.deepEqual(await client.outcome(KV.Put, PutRequest.encode({ key: bytes(key) }), app), OK);
      }
      const scan = RangeRequest.encode({ key: bytes("/a"), rangeEnd: bytes("/b") });
      assert.equal(RangeResponse.decode(await client.call(KV.Range, scan, app)).kvs.length, KEYS.length);
      const watched = await client.watch({ key: bytes("/a"), rangeEnd: bytes("/b") }, app);
      assert.equal(watched.canceled, false, watched.cancelReason);
    }
    // This raises the shards' auth revision, so every JWT is too old.
    await two.call(Auth.RoleAdd, AuthRoleAddRequest.encode({ name: `role${i}` }), root);
  }
  assert.deepEqual(await two.outcome(Auth.UserList, EMPTY, root), OK);
});

test("a token expires a fixed time after it was issued or last used", () => {
  const seal = new Seal("secret of the proxies", "store");
  const callers = new Callers(seal, shardSet([]), { authenticates: 0 }, 300_000);
  const elsewhere = new Callers(seal, shardSet([]), { authenticates: 0 }, 300_000);
  const of = (from: Callers, token: string) =>
    from.of({ get: (name) => (name === "token" ? token : undefined) });
  const unknown = of(callers, "none");
  mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  try {
    const token = callers.tokenFor(callers.add("app", "secret"));
    const session = of(callers, token);
    assert.notEqual(session, unknown);
    assert.equal(of(callers, callers.tokenFor(callers.add("app", "other"))) === session, false);
    for (let i = 0; i < 3; i++) {
      mock.timers.tick(299_000);
      assert.equal(of(callers, token), session, "it stays valid while it is used");
    }
    const same = of(elsewhere, "none");
    assert.equal(of(elsewhere, token), same, "it has expired where it was not used");
    mock.timers.tick(301_000);
    assert.equal(of(callers, token), unknown);
  } finally {
    mock.timers.reset();
  }
});

test("a seal opens its own tokens, and none of another key or store", () => {
  const seal = new Seal("secret of the proxies", "store");
  for (const [user, password] of [
    ["root", "root"],
    ["", ""],
    ["ü ser:", "pass\0wort\n"],
    ["x".repeat(2_000), "y".repeat(2_000)],
  ] as const) {
    const token = seal.seal({ user, password, issuedAt: 1_700_000_000_000 });
    assert.match(token, /^[A-Za-z0-9_-]+$/);
    assert.deepEqual(seal.open(token), { user, password, issuedAt: 1_700_000_000_000 });
    assert.equal(new Seal("another secret of proxies", "store").open(token), undefined);
    assert.equal(new Seal("secret of the proxies", "another store").open(token), undefined);
    if (password !== "") assert.ok(!token.includes(Buffer.from(password).toString("base64url")));
  }
});
