import { type Asked, b64 } from "./support.js";

export interface Case extends Asked {
  /** The error comes from the JSON reader, whose text differs: only status and code are compared. */
  readonly badJson?: boolean;
  /** The path does not exist in etcd 3.4. */
  readonly since35?: boolean;
  /** The expected response, with the reason, where etcd's own is of no use to clients. */
  readonly instead?: { readonly status: number; readonly code: number; readonly because: string };
  /** The user whose token is sent, from an earlier login. */
  readonly as?: string;
  readonly login?: string;
  /** Fields, at any depth, that differ between two stores. */
  readonly ignore?: readonly string[];
}

const key = b64("foo");
const post = (path: string, body: unknown, more: Omit<Case, "path"> = {}): Case => ({
  path,
  body: typeof body === "string" ? body : JSON.stringify(body),
  ...more,
});
const bad = (path: string, body: unknown) => post(path, body, { badJson: true });
const five = "etcd answers 500 and clients would take the endpoint for dead";

const kv: Case[] = [
  post("/v3/kv/put", { key, value: b64("bar") }),
  post("/v3/kv/put", { key, value: b64("baz"), prev_kv: true, lease: "0", ignore_value: false }),
  post("/v3/kv/put", { key: b64("foo/2"), value: "" }),
  post("/v3beta/kv/put", { key: b64("zoo"), value: b64("\u0000\u00ff") }),
  post("/v3/kv/put", {}),
  post("/v3/kv/put", { key, lease: "999" }),
  post("/v3/kv/put", { key: b64("none"), ignore_value: true }),
  post("/v3/kv/put", { key: b64("none"), ignoreLease: true }),
  post("/v3/kv/put", { key, value: b64("x"), ignore_value: true }),
  post("/v3/kv/range", { key }),
  post("/v3beta/kv/range", { key }),
  post("/v3/kv/range", { key: b64("absent") }),
  post("/v3/kv/range", { key: "AA==", range_end: "AA==", sort_order: "DESCEND", sort_target: "KEY" }),
  post("/v3/kv/range", { key: "AA==", rangeEnd: "AA==", sortOrder: 1, sortTarget: 3, limit: "2" }),
  post("/v3/kv/range", { key: "AA==", range_end: "AA==", count_only: true }),
  post("/v3/kv/range", { key: "AA==", range_end: "AA==", keys_only: true, serializable: true, limit: 1 }),
  post("/v3/kv/range", { key: "AA==", range_end: "AA==", minModRevision: 3, max_mod_revision: "4" }),
  post("/v3/kv/range", { key, revision: 2 }),
  post("/v3/kv/range", { key, revision: "100000" }),
  post("/v3/kv/range?key=Zm9v", { bogus: [1, { a: null }], key, limit: null }),
  post("/v3/kv/range", { key }, { headers: { "content-type": "application/x-www-form-urlencoded" } }),
  post("/v3/kv/r%61nge", { key }),
  post("/v3/kv/range", `{"key":"${key}"} what follows`),
  post("/v3/kv/range", ` {"\\u006bey" : "Zm9\\nv"}`),
  post("/v3/kv/range", `{"key":"${key}","keysOnly":true,"serializable":false}`),
  post("/v3/kv/range", ""),
  post("/v3/kv/range", { key: null }),
  post("/v3/kv/txn", {}),
  post("/v3/kv/txn", {
    compare: [{ result: "EQUAL", target: "VERSION", key, version: "2" }],
    success: [
      { request_range: { key } },
      { requestPut: { key, value: b64("txn"), prevKv: true } },
      {
        request_txn: {
          compare: [],
          success: [{ request_delete_range: { key: b64("foo/2"), prev_kv: true } }],
        },
      },
    ],
    failure: [],
  }),
  post("/v3/kv/txn", {
    compare: [
      { result: 3, target: 2, key, mod_revision: "1" },
      { result: "GREATER", target: "CREATE", key, createRevision: 1 },
      { target: "VALUE", key, value: b64("txn") },
      { target: "LEASE", key, lease: 0 },
    ],
    success: [{ requestDeleteRange: { key: b64("nothing") } }],
    failure: [{ request_put: { key, value: b64("no") } }],
  }),
  post("/v3/kv/txn", {
    compare: [{ target: "VERSION", key, version: 99 }],
    failure: [{ requestRange: { key } }],
  }),
  post("/v3/kv/txn", { success: [{}] }),
  post("/v3/kv/txn", { success: [{ request_put: { key } }, { request_put: { key } }] }),
  post("/v3/kv/txn", { success: Array(129).fill({ request_range: { key } }) }),
  post("/v3/kv/deleterange", { key: b64("zoo"), prev_kv: true }),
  post("/v3/kv/deleterange", { key: b64("zoo"), prev_kv: true }),
  post("/v3/kv/deleterange", {}),
  post("/v3/kv/compaction", { revision: "3", physical: true }),
  post("/v3/kv/compaction", { revision: "3" }),
  post("/v3/kv/compaction", { revision: "100000" }),
  post("/v3/kv/range", { key, revision: 1 }),
];

const malformed: Case[] = [
  ...["[]", '"x"', "5", "{", '{"key"}', '{"key":"Zm9v"', '{"key":"Zm9v",}', "{key:1}", "nul", "\ufeff{}"],
  '{"key":"Z"}',
  '{"key":"Zm 9v"}',
  '{"key":5}',
  '{"key":{}}',
  '{"key":true}',
  '{"key":"Zm9v","limit":5.5}',
  '{"key":"Zm9v","limit":"abc"}',
  '{"key":"Zm9v","limit":""}',
  '{"key":"Zm9v","limit":99999999999999999999}',
  '{"key":"Zm9v","limit":true}',
  '{"key":"Zm9v","limit":[]}',
  '{"key":"Zm9v","sort_order":true}',
  '{"key":"Zm9v","serializable":"true"}',
  '{"key":"Zm9v","serializable":1}',
  `{"x":${"[".repeat(20_000)}`,
].map((body) => bad("/v3/kv/range", body));

const lease: Case[] = [
  post("/v3/lease/grant", { TTL: "300", ID: "7587862094405862011" }),
  post("/v3/lease/grant", '{"TTL":300,"ID":7587862094405862011}'),
  post("/v3/lease/grant", { TTL: 300 }, { ignore: ["ID"] }),
  post("/v3/lease/grant", { TTL: "10000000000", ID: 5 }),
  post("/v3/kv/put", '{"key":"Zm9v","value":"YmFy","lease":7587862094405862011}'),
  post("/v3/kv/range", { key }),
  post("/v3/lease/timetolive", { ID: "7587862094405862011", keys: true }, { ignore: ["TTL"] }),
  post("/v3/kv/lease/timetolive", { ID: "12345" }),
  post("/v3/lease/keepalive", { ID: "7587862094405862011" }),
  post("/v3/lease/keepalive", '{"ID":"7587862094405862011"}{"ID":5} {"ID":7587862094405862011}'),
  post("/v3/lease/keepalive", '{"ID":"5"} garbage'),
  post("/v3/lease/keepalive", ""),
  post("/v3/lease/keepalive", '{"ID":"x"}', { instead: { status: 400, code: 3, because: five } }),
  post("/v3/lease/revoke", { ID: "12345" }),
  post("/v3/kv/lease/revoke", '{"ID":7587862094405862011}'),
  post("/v3/lease/leases", {}, { ignore: ["ID"] }),
  post("/v3/kv/lease/leases", "", { ignore: ["ID"] }),
  post("/v3/kv/lease/grant", {}),
  post("/v3/kv/lease/keepalive", {}),
];

const watch: Case[] = [
  post("/v3/kv/put", { key: b64("watched"), value: b64("1") }),
  post("/v3/kv/deleterange", { key: b64("watched") }),
  post("/v3/watch", { create_request: { key: b64("watched") } }, { lines: 1 }),
  post("/v3/watch", '{"createRequest":{"key":"d2F0Y2hlZA=="}}{"create_request":{"key":"YQ=="}} x', {
    lines: 2,
  }),
  post("/v3/watch", '{"create_request":{"key":"AA==","rangeEnd":"AA==","start_revision":1}}', { lines: 2 }),
  post(
    "/v3/watch",
    '{"create_request":{"key":"YQ==","filters":["NOPUT",1]}}{"cancel_request":{"watch_id":0}}',
    { lines: 2 },
  ),
  post("/v3/watch", "{", { instead: { status: 400, code: 3, because: five } }),
  post("/v3/watch", "[]", { instead: { status: 400, code: 3, because: five } }),
  post("/v3/watch", '{"create_request":{"key":"Z"}}', { instead: { status: 400, code: 3, because: five } }),
];

const around: Case[] = [
  post("/v3/cluster/member/list", {}, { ignore: ["ID", "name", "peerURLs", "clientURLs"] }),
  post("/v3/cluster/member/promote", { ID: 1 }),
  post("/v3/cluster/member/remove", { ID: "1" }),
  post("/v3/cluster/member/update", { ID: "1", peerURLs: ["http://10.0.0.1:2380"] }),
  post("/v3/cluster/member/add", {}),
  post(
    "/v3/maintenance/status",
    {},
    {
      // A quota of etcd 3.6 is summed over the shards.
      ignore: ["leader", "dbSize", "dbSizeInUse", "dbSizeQuota", "raftIndex", "raftAppliedIndex", "raftTerm"],
    },
  ),
  post("/v3/maintenance/alarm", {}),
  post("/v3/maintenance/alarm", { action: "ACTIVATE", alarm: "NOSPACE", memberID: "77" }),
  post("/v3/maintenance/alarm", { action: "GET" }),
  { method: "GET", path: "/health", ignore: ["reason"] },
  { method: "GET", path: "/health?serializable=true", ignore: ["reason"] },
  { method: "GET", path: "/health?exclude=NOSPACE", ignore: ["reason"] },
  post("/v3/kv/put", { key }),
  post("/v3/maintenance/alarm", { action: 2, alarm: 1, memberID: 77 }),
  { method: "GET", path: "/health", ignore: ["reason"] },
  post("/v3/maintenance/hash", {}, { ignore: ["hash"] }),
  post("/v3/maintenance/hashkv", {}, { since35: true, ignore: ["hash", "compact_revision"] }),
  post("/v3/maintenance/defragment", {}),
  post("/v3/maintenance/transfer-leadership", { targetID: "1" }),
  bad("/v3/maintenance/snapshot", "{"),
];

const name = b64("elect");
const recipes: Case[] = [
  post("/v3/lock/lock", { name: b64("mutex") }, { ignore: ["key"] }),
  post(
    "/v3/lock/lock",
    { name: b64("mutex2"), lease: "999" },
    { instead: { status: 400, code: 2, because: five } },
  ),
  post("/v3/lock/unlock", { key: b64("mutex/none") }),
  post("/v3/lock/unlock", {}, { instead: { status: 400, code: 2, because: five } }),
  post("/v3/election/leader", { name }, { instead: { status: 400, code: 2, because: five } }),
  post("/v3/lease/grant", { TTL: "300", ID: "4711" }),
  post("/v3/election/campaign", { name, lease: "4711", value: b64("one") }),
  post("/v3/election/leader", { name }),
  post("/v3/election/observe", { name }, { lines: 1 }),
  post(
    "/v3/election/proclaim",
    { leader: { name, key: b64("elect/x"), rev: "1", lease: "4711" } },
    {
      instead: { status: 400, code: 2, because: five },
    },
  ),
  post("/v3/election/proclaim", {}, { instead: { status: 400, code: 2, because: five } }),
  post("/v3/election/resign", {}, { instead: { status: 400, code: 2, because: five } }),
  post("/v3/lease/revoke", { ID: "4711" }),
];

const http: Case[] = [
  ...["GET", "PUT", "DELETE", "HEAD", "PATCH"].map((method) => ({ method, path: "/v3/kv/range" })),
  ...["POST", "PUT", "HEAD"].map((method) => ({ method, path: "/version" })),
  ...["POST", "HEAD"].map((method) => ({ method, path: "/health" })),
  { method: "OPTIONS", path: "/v3/kv/range" },
  { method: "GET", path: "/version" },
  { method: "GET", path: "/v3/kv/range", headers: { "x-http-method-override": "POST" } },
  ...["/livez", "/readyz", "/readyz?verbose", "/livez?verbose", "/readyz/data_corruption?verbose"].map(
    (path) => ({
      method: "GET",
      path,
      since35: true,
    }),
  ),
  { method: "GET", path: "/readyz?verbose&exclude=non_learner&exclude=nothing", since35: true },
  { method: "POST", path: "/readyz", since35: true },
  ...["/", "/bogus", "/v2/keys", "/v4/kv/range", "/readyz/bogus", "/livez/"].map((path) => ({
    method: "GET",
    path,
  })),
  ...["/v3/kv/bogus", "/v3/kv/range/", "/v3/", "/v3/kv/range:x", "/v3/kv"].map((path) => post(path, {})),
  post("/v3/kv/range", { key }, { headers: { "grpc-timeout": "5x" } }),
  post("/v3/kv/range", { key }, { headers: { "grpc-timeout": "-5S" } }),
  post("/v3/kv/range", { key }, { headers: { "grpc-timeout": "5S" } }),
];

const login = (name: string, password: string, more: Omit<Case, "path"> = {}) =>
  post("/v3/auth/authenticate", { name, password }, { ignore: ["token"], ...more });
const range = (key: string, end = "") => ({ key: b64(key), range_end: b64(end) });
const rootOnly = ["user/list", "role/list", "role/add", "user/delete", "disable"];

const auth: Case[] = [
  login("root", "root-secret-42"),
  post("/v3/auth/enable", {}),
  post("/v3/auth/user/add", { name: "root", password: "root-secret-42" }),
  post("/v3/auth/user/add", { name: "braid", password: "own-secret-4711", options: { no_password: false } }),
  post("/v3/auth/user/add", { name: "app", password: "app" }),
  post("/v3/auth/user/add", { name: "app", password: "app" }),
  post("/v3/auth/user/add", { name: "é<&>\u0001", options: { noPassword: true } }),
  post("/v3/auth/user/add", {}),
  post("/v3/auth/enable", ""),
  post("/v3/auth/role/add", { name: "root" }),
  post("/v3/auth/role/add", { name: "apps" }),
  post("/v3/auth/role/add", { name: "apps" }),
  post("/v3/auth/role/add", { name: "" }),
  post("/v3/auth/role/grant", { name: "apps", perm: { permType: "READWRITE", ...range("app/", "app0") } }),
  post("/v3/auth/role/grant", { name: "apps", perm: { perm_type: 5, permType: 0, key: b64("read") } }),
  post("/v3/auth/role/grant", { name: "none", perm: { key: b64("a") } }),
  post(
    "/v3/auth/role/grant",
    { name: "apps" },
    { instead: { status: 400, code: 3, because: "etcd 3.4 ends" } },
  ),
  post("/v3/auth/role/grant", { name: "apps", perm: { permType: "ALL" } }, { badJson: true }),
  post("/v3/auth/role/revoke", { role: "apps", key: b64("absent") }),
  post("/v3/auth/role/get", { role: "apps" }),
  post("/v3/auth/role/get", { role: "none" }),
  post("/v3/auth/role/list", {}),
  post("/v3/auth/user/grant", { user: "root", role: "root" }),
  post("/v3/auth/user/grant", { user: "braid", role: "root" }),
  post("/v3/auth/user/grant", { user: "app", role: "apps" }),
  post("/v3/auth/user/grant", { user: "app", role: "none" }),
  post("/v3/auth/user/grant", { user: "none", role: "apps" }),
  post("/v3/auth/user/revoke", { name: "app", role: "none" }),
  post("/v3/auth/user/changepw", { name: "app", password: "app-secret" }),
  post("/v3/auth/user/changepw", { name: "none", password: "x" }),
  post("/v3/auth/user/get", { name: "app" }),
  post("/v3/auth/user/get", { name: "none" }),
  post("/v3/auth/user/list", {}),
  post("/v3/auth/status", {}, { since35: true, ignore: ["authRevision"] }),
  post("/v3/auth/enable", {}),
  post("/v3/kv/range", range("app/1")),
  post("/v3/kv/range", range("app/1"), { headers: { authorization: "nonsense.1" } }),
  post("/v3/kv/put", range("app/1")),
  post("/v3/lease/grant", { TTL: 100 }, { ignore: ["ID"] }),
  post("/v3/auth/user/list", {}),
  login("root", "wrong"),
  login("none", "x"),
  login("", ""),
  login("root", "root-secret-42", { login: "root" }),
  login("app", "app-secret", { login: "app" }),
  post("/v3/kv/put", { key: b64("app/1"), value: b64("1") }, { as: "app" }),
  post("/v3/kv/range", range("app/", "app0"), { as: "app" }),
  post("/v3/kv/range", range("read"), { as: "app" }),
  post("/v3/kv/put", { key: b64("read") }, { as: "app" }),
  post("/v3/kv/range", range("app/", "apq"), { as: "app" }),
  post("/v3/kv/range", range("\u0000", "\u0000"), { as: "app" }),
  post("/v3/kv/deleterange", range("other"), { as: "app" }),
  post("/v3/kv/txn", { success: [{ request_put: { key: b64("other") } }] }, { as: "app" }),
  post("/v3/kv/txn", { failure: [{ request_range: range("app/1") }] }, { as: "app" }),
  post("/v3/watch", { create_request: range("app/", "app0") }, { as: "app", lines: 1 }),
  post("/v3/watch", { create_request: range("app/", "apq") }, { as: "app", lines: 1 }),
  ...rootOnly.map((path) => post(`/v3/auth/${path}`, { name: "x" }, { as: "app" })),
  post("/v3/auth/user/get", { name: "app" }, { as: "app" }),
  post("/v3/auth/role/get", { role: "apps" }, { as: "app" }),
  post("/v3/auth/user/get", { name: "root" }, { as: "app" }),
  post("/v3/kv/range", range("app/", "apq"), { as: "root" }),
  post("/v3/auth/user/list", {}, { as: "root" }),
  post("/v3/auth/role/delete", { role: "apps" }, { as: "root" }),
  post("/v3/auth/user/delete", { name: "root" }, { as: "root" }),
  post("/v3/auth/disable", {}, { as: "root" }),
  login("root", "another"),
  post("/v3/auth/user/delete", { name: "app" }),
];

/** By service. Run in this order on a new store; later ones depend on what earlier ones have left. */
export const cases: Readonly<Record<string, readonly Case[]>> = {
  kv,
  malformed,
  lease,
  watch,
  around,
  recipes,
  http,
  auth,
};
