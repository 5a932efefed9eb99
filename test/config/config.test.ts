import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { clientUrls } from "../../src/config/address.js";
import { ConfigError } from "../../src/config/error.js";
import { loadConfig, parseConfig } from "../../src/config/load.js";

const twoShards = `
shards:
  - name: a
    endpoints: [10.0.0.1:2379]
  - name: b
    endpoints: [10.0.0.2:2379]
`;

/** The problems that `text` is refused with, as `path: message (line)`. */
function problems(text: string): string[] {
  try {
    parseConfig(text, "test.yaml");
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    assert.match(error.message, /^test\.yaml cannot be used:\n/);
    return error.message.split("\n  ").slice(1);
  }
  return assert.fail("was accepted");
}

test("shards alone are enough", () => {
  assert.deepEqual(parseConfig(twoShards, "test.yaml"), {
    listen: ["127.0.0.1:2379"],
    advertise: undefined,
    tls: undefined,
    shardTls: undefined,
    workers: 1,
    shards: [
      { name: "a", endpoints: ["10.0.0.1:2379"], weight: 1 },
      { name: "b", endpoints: ["10.0.0.2:2379"], weight: 1 },
    ],
    timeline: { kind: "shard", shard: 0 },
    map: {
      shards: [
        { name: "a", weight: 1 },
        { name: "b", weight: 1 },
      ],
      rules: [],
    },
    auth: { own: undefined, tokenKey: undefined, tokenTtlSeconds: 86_400 },
    tenants: [],
    limits: {
      maxRequestBytes: 1_572_864,
      maxTxnOps: 128,
      requestTimeoutMs: 7_000,
      connectTimeoutMs: 2_000,
      maxConnections: 20_000,
    },
    http2: { maxStreams: 10_000, keepaliveIntervalMs: 7_200_000, keepaliveTimeoutMs: 20_000 },
    watch: { historyBytes: 16_777_216, streamBufferBytes: 4_194_304, progressNotifyMs: 600_000 },
    http: { cors: [], hosts: [] },
    reads: "linearizable",
    transport: "native",
    log: { level: "info", slowRequestMs: 500 },
    metrics: { listen: undefined },
    console: { enabled: false, password: undefined },
    shutdown: { graceMs: 5_000 },
    tracing: undefined,
  });
});

test("everything can be said", () => {
  const config = parseConfig(
    `
listen: ["0.0.0.0:2379", "[::1]:2380"]
advertise: ["http://Proxy-1.example:2379/", "https://proxy-2.example:2379"]
shards:
  - name: a.b_c-1
    endpoints: ["http://etcd-1:2379", "ETCD-2:2379", "http://[FE80::1]:2379/"]
    weight: 2.5
  - { name: b, endpoints: ["10.0.0.2:2379"] }
timeline: { host: b }
routing:
  default: { delimiter: ":", segments: 3, shard: b }
  rules:
    - { prefix: "/é/", segments: 0 }
    - { prefixBase64: /wE=, delimiter: "|", shard: a.b_c-1 }
limits: { maxRequestBytes: 2000000, maxTxnOps: 512, requestTimeoutMs: 1000, connectTimeoutMs: 500 }
watch: { historyBytes: 1, streamBufferBytes: 2, progressNotifyMs: 3 }
http: { cors: ["*"], hosts: [etcd.example] }
transport: grpc-js
log: { level: debug }
`,
    "test.yaml",
  );
  assert.deepEqual(config.listen, ["0.0.0.0:2379", "[::1]:2380"]);
  assert.deepEqual(config.advertise, ["http://proxy-1.example:2379", "https://proxy-2.example:2379"]);
  assert.deepEqual(config.shards[0], {
    name: "a.b_c-1",
    endpoints: ["etcd-1:2379", "etcd-2:2379", "[fe80::1]:2379"],
    weight: 2.5,
  });
  assert.deepEqual(config.timeline, { kind: "shard", shard: 1 });
  assert.deepEqual(config.map, {
    shards: [
      { name: "a.b_c-1", weight: 2.5 },
      { name: "b", weight: 1 },
    ],
    rules: [
      { prefix: new Uint8Array(0), delimiter: 0x3a, segments: 3, shard: "b" },
      { prefix: Uint8Array.of(0x2f, 0xc3, 0xa9, 0x2f), delimiter: 0x2f, segments: 0 },
      { prefix: Uint8Array.of(0xff, 0x01), delimiter: 0x7c, segments: 1, shard: "a.b_c-1" },
    ],
  });
  assert.equal(config.limits.maxTxnOps, 512);
  assert.equal(config.watch.progressNotifyMs, 3);
  assert.deepEqual(config.http, { cors: ["*"], hosts: ["etcd.example"] });
  assert.equal(config.transport, "grpc-js");
  assert.equal(config.log.level, "debug");
});

test("the timeline can have an etcd cluster of its own", () => {
  const config = parseConfig(`${twoShards}timeline: { endpoints: ["http://10.0.0.9:2379"] }`, "test.yaml");
  assert.deepEqual(config.timeline, { kind: "dedicated", endpoints: ["10.0.0.9:2379"] });
});

test("the proxy's users can be one for all and one of a cluster's own; secrets may be elsewhere", () => {
  const config = parseConfig(
    `
shards:
  - { name: a, endpoints: ["10.0.0.1:2379"], auth: { user: proxy, passwordFile: /run/secrets/a } }
  - { name: b, endpoints: ["10.0.0.2:2379"] }
timeline: { endpoints: ["10.0.0.9:2379"], auth: { user: host, password: h } }
auth: { user: braid, passwordEnv: BRAID_PASSWORD, tokenKey: 0123456789abcdef, tokenTtlSeconds: 60 }
`,
    "test.yaml",
  );
  assert.deepEqual(config.auth, {
    own: { user: "braid", password: { kind: "env", name: "BRAID_PASSWORD" } },
    tokenKey: { kind: "value", value: "0123456789abcdef" },
    tokenTtlSeconds: 60,
  });
  assert.deepEqual(config.shards[0]!.auth, {
    user: "proxy",
    password: { kind: "file", path: "/run/secrets/a" },
  });
  assert.equal(config.shards[1]!.auth, undefined);
  assert.ok(config.timeline.kind === "dedicated");
  assert.deepEqual(config.timeline.auth, { user: "host", password: { kind: "value", value: "h" } });
});

test("half a user is refused, and no problem shows a secret", () => {
  const text = `
shards:
  - { name: a, endpoints: ["10.0.0.1:2379"], auth: { user: proxy } }
timeline: { auth: { user: x, password: hush } }
auth: { password: hush, passwordFile: /run/hush, tokenKey: short }
`;
  const shape = problems(text);
  assert.deepEqual(shape, ["auth.tokenKey: must be at least 16 characters (line 5)"]);
  const found = problems(text.replace("tokenKey: short", "tokenTtlSeconds: 1"));
  assert.deepEqual(found, [
    "shards[0].auth.user: has no password: give password, passwordFile or passwordEnv (line 3)",
    "timeline.auth: applies only to a timeline host that is not a shard; set it at the shard instead (line 4)",
    "auth.passwordFile: give password or passwordFile, not both (line 5)",
    "auth.user: is missing (line 5)",
  ]);
  for (const problem of [...shape, ...found]) assert.doesNotMatch(problem, /hush \(|short/);
});

test("a section whose content is commented out is as good as none", () => {
  const config = parseConfig(
    `${twoShards}routing:\n  rules:\n  # - prefix: /a\nlimits:\nlisten:\n`,
    "test.yaml",
  );
  assert.deepEqual(config, parseConfig(twoShards, "test.yaml"));
});

test("TLS: for clients, for all clusters, and for one", () => {
  const config = parseConfig(
    `
tls:
  certFile: server.crt
  keyFile: server.key
  clientCaFile: clients.crt
  minVersion: TLS1.3
  cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ecdhe-ecdsa-aes256-gcm-sha384, TLS_RSA_WITH_AES_256_CBC_SHA]
shardTls: { caFile: shards.crt, certFile: proxy.crt, keyFile: proxy.key }
shards:
  - { name: a, endpoints: ["HTTPS://etcd-1:2379/", "10.0.0.1:2379"], tls: { serverName: etcd.example } }
  - { name: b, endpoints: ["10.0.0.2:2379"] }
timeline: { endpoints: ["https://10.0.0.3:2379"], tls: { caFile: timeline.crt } }
`,
    "test.yaml",
  );
  assert.deepEqual(config.tls, {
    certFile: "server.crt",
    keyFile: "server.key",
    clientCaFile: "clients.crt",
    minVersion: "TLSv1.3",
    ciphers: [
      "TLS_AES_256_GCM_SHA384",
      "TLS_CHACHA20_POLY1305_SHA256",
      "TLS_AES_128_GCM_SHA256",
      "ECDHE-RSA-AES128-GCM-SHA256",
      "ECDHE-ECDSA-AES256-GCM-SHA384",
      "AES256-SHA",
    ],
  });
  const common = { caFile: "shards.crt", certFile: "proxy.crt", keyFile: "proxy.key" };
  assert.deepEqual(config.shards, [
    {
      name: "a",
      endpoints: ["https://etcd-1:2379", "10.0.0.1:2379"],
      weight: 1,
      tls: { ...common, serverName: "etcd.example" },
    },
    { name: "b", endpoints: ["10.0.0.2:2379"], weight: 1 },
  ]);
  assert.deepEqual(config.timeline, {
    kind: "dedicated",
    endpoints: ["https://10.0.0.3:2379"],
    tls: { ...common, caFile: "timeline.crt" },
  });
});

test("TLS that cannot be meant is refused", () => {
  assert.deepEqual(
    problems(`${twoShards}tls: { certFile: a, minVersion: "TLS1.1", cipherSuites: [ROT13] }`),
    [
      "tls.keyFile: is missing (line 7)",
      "tls.minVersion: must be one of TLS1.2, TLS1.3 (line 7)",
      "tls.cipherSuites[0]: is not a known cipher suite (line 7)",
    ],
  );
  const text = `shards:
  - { name: a, endpoints: ["10.0.0.1:2379"], tls: { caFile: x } }
  - { name: b, endpoints: ["10.0.0.2:2379", "https://10.0.0.1:2379"] }
timeline: { tls: { insecureSkipVerify: true } }
shardTls: { keyFile: k, caFile: c, insecureSkipVerify: true }
`;
  assert.deepEqual(problems(text), [
    "shards[0].tls: has no effect: none of the endpoints begins with https:// (line 2)",
    "shards[1].endpoints[1]: https://10.0.0.1:2379 already belongs to shards[0] (line 3)",
    "timeline.tls: applies only to a timeline host that is not a shard; set it at the shard instead (line 4)",
    "shardTls.keyFile: needs a certFile (line 5)",
    "shardTls.insecureSkipVerify: makes caFile useless: leave out one of them (line 5)",
  ]);
  const own = "tls: { certFile: c, keyFile: k }\n";
  assert.deepEqual(problems(`${twoShards}${own}advertise: ["https://a:1", "http://a:2"]`), [
    "advertise[1]: must be https://, because the proxies use TLS (tls) (line 8)",
  ]);
  assert.deepEqual(problems(`${twoShards}shardTls: { caFile: x }`), [
    "shardTls: has no effect: no endpoint begins with https:// (line 7)",
  ]);
});

test("with a port that the system chooses, the URLs are known once it has", () => {
  const config = parseConfig(`${twoShards}listen: ["127.0.0.1:0", "127.0.0.1:0"]`, "test.yaml");
  assert.equal(config.advertise, undefined);
  const addresses = ["127.0.0.1:4001", "[::1]:4002"];
  assert.deepEqual(clientUrls(addresses, false), ["http://127.0.0.1:4001", "http://[::1]:4002"]);
  assert.deepEqual(clientUrls(addresses, true), ["https://127.0.0.1:4001", "https://[::1]:4002"]);
});

test("every problem of the shape is named at once, with path and line", () => {
  assert.deepEqual(
    problems(`shards:
  - name: a
    endpoints: [10.0.0.1]
    wieght: 2
  - name: -b
    endpoints:
      - https://10.0.0.2:2379
      -
      - ftp://10.0.0.2:2379
      - 10.0.0.2:70000
      - 10.0.0.2:0
      - ":2379"
    tls: { caFile: ca.crt, cert: x }
  - name: 7
    endpoints: []
    weight: 0
listen: 0.0.0.0:3
limits: { maxTxnOp: 1, maxRequestBytes: 1.5, requestTimeoutMs: "7s" }
log: { level: loud }
colour: red
`),
    [
      "shards[0].endpoints[0]: must be host:port (IPv6 as [::1]:2379) (line 3)",
      "shards[0].wieght: is unknown; did you mean weight? (line 4)",
      "shards[1].name: must be 1 to 63 of A-Z a-z 0-9 . _ - and begin with a letter or digit (line 5)",
      "shards[1].endpoints[1]: is missing (line 8)",
      'shards[1].endpoints[2]: "ftp" is not supported (host:port, http://host:port or https://host:port) (line 9)',
      "shards[1].endpoints[3]: port 70000 is above 65535 (line 10)",
      "shards[1].endpoints[4]: the port must not be 0 (line 11)",
      "shards[1].endpoints[5]: the host is missing (127.0.0.1 for this machine only) (line 12)",
      "shards[1].tls.cert: is unknown; possible here: caFile, certFile, keyFile, serverName, insecureSkipVerify (line 13)",
      "shards[2].name: must be text, not the number 7 (quote it if it is meant as text) (line 14)",
      "shards[2].endpoints: must not be empty (line 15)",
      "shards[2].weight: must be at least 0.01 (line 16)",
      "listen: must be a list, not text (line 17)",
      "limits.maxRequestBytes: must be a whole number, not the number 1.5 (line 18)",
      "limits.requestTimeoutMs: must be a number, not text (line 18)",
      "limits.maxTxnOp: is unknown; did you mean maxTxnOps? (line 18)",
      "log.level: must be one of trace, debug, info, warn, error, fatal, silent (line 19)",
      "colour: is unknown; possible here: listen, advertise, tls, shardTls, workers, shards, timeline, routing, auth, tenants, limits, http2, watch, http, reads, transport, log, metrics, console, shutdown, tracing (line 20)",
    ],
  );
});

test("what does not fit together is named at once, with path and line", () => {
  assert.deepEqual(
    problems(`shards:
  - name: a
    endpoints: [10.0.0.1:2379, "http://10.0.0.1:2379/"]
  - name: a
    endpoints: [10.0.0.1:2379, 127.0.0.1:2379]
listen: [127.0.0.1:2379, "127.0.0.1:2379", "0.0.0.0:3"]
timeline: { host: c }
routing:
  default: { shard: c }
  rules:
    - { prefix: /a, shard: c }
    - { prefixBase64: L2E= }
    - { prefix: "" }
    - { prefix: "\\0a" }
    - { prefix: /b, prefixBase64: L2E= }
    - {}
metrics: { listen: "127.0.0.1:2379" }
`),
    [
      "shards[0].endpoints[1]: 10.0.0.1:2379 already belongs to shards[0] (line 3)",
      "shards[1].name: is already the name of shards[0] (line 4)",
      "shards[1].endpoints[0]: 10.0.0.1:2379 already belongs to shards[0] (line 5)",
      "shards[1].endpoints[1]: 127.0.0.1:2379 already belongs to this proxy (listen) (line 5)",
      "listen[1]: repeats listen[0] (line 6)",
      "timeline.host: there is no shard c; the shards are a, a (line 7)",
      "routing.default.shard: there is no shard c; the shards are a, a (line 9)",
      "routing.rules[0].shard: there is no shard c; the shards are a, a (line 11)",
      "routing.rules[1].prefixBase64: is already the prefix of routing.rules[0] (line 12)",
      "routing.rules[2].prefix: must not be empty; the rule for all keys is routing.default (line 13)",
      "routing.rules[3].prefix: keys that begin with a zero byte are reserved (line 14)",
      "routing.rules[4]: give prefix or prefixBase64, not both (line 15)",
      "routing.rules[5]: prefix is missing (line 16)",
      "metrics.listen: is the same as listen[0], which serves /metrics anyway (line 17)",
      "advertise: is missing: clients cannot connect to 0.0.0.0:3, so give the URLs that they can use",
    ],
  );
});

test("a timeline host is a shard or has endpoints of its own, not both", () => {
  assert.deepEqual(problems(`${twoShards}timeline: { host: a, endpoints: ["10.0.0.9:2379"] }`), [
    "timeline: give host or endpoints, not both (line 7)",
  ]);
  assert.deepEqual(problems(`${twoShards}timeline: { endpoints: ["10.0.0.2:2379", "127.0.0.1:2379"] }`), [
    "timeline.endpoints[0]: 10.0.0.2:2379 belongs to shard b; write host: b (line 7)",
    "timeline.endpoints[1]: 127.0.0.1:2379 is this proxy itself (listen) (line 7)",
  ]);
});

test("advertised URLs must lead somewhere, each once", () => {
  assert.deepEqual(
    problems(`${twoShards}advertise: ["10.0.0.5:2379", "http://0.0.0.0:2379", "http://10.0.0.5:0"]`),
    [
      "advertise[0]: must be http://host:port or https://host:port (line 7)",
      "advertise[1]: clients cannot connect to a wildcard address (line 7)",
      "advertise[2]: the port must not be 0 (line 7)",
    ],
  );
  assert.deepEqual(problems(`${twoShards}advertise: ["http://10.0.0.5:1", "http://10.0.0.5:1/"]`), [
    "advertise[1]: repeats advertise[0] (line 7)",
  ]);
});

test("at most 255 shards", () => {
  const many = Array.from({ length: 256 }, (_, i) => `  - { name: s${i}, endpoints: ["10.0.0.1:${i + 1}"] }`);
  assert.deepEqual(problems(`shards:\n${many.join("\n")}`), [
    "shards: must have at most 255 entries (line 1)",
  ]);
  assert.equal(parseConfig(`shards:\n${many.slice(1).join("\n")}`, "test.yaml").shards.length, 255);
});

test("routing fields have limits", () => {
  assert.deepEqual(
    problems(`${twoShards}routing:
  rules:
    - { prefix: ${"x".repeat(1025)} }
    - { prefix: a, delimiter: "é", segments: -1 }
    - { prefixBase64: "not base64" }
`),
    [
      "routing.rules[1].delimiter: must be one byte (line 10)",
      "routing.rules[1].segments: must be at least 0 (line 10)",
      "routing.rules[2].prefixBase64: must be base64 with padding (line 11)",
    ],
  );
  assert.deepEqual(problems(`${twoShards}routing: { rules: [{ prefix: ${"x".repeat(1025)} }] }`), [
    "routing.rules[0].prefix: must have at most 1024 bytes (line 7)",
  ]);
});

test("tracing needs a URL, and a share between none and all", () => {
  assert.deepEqual(
    problems(`shards: [{ name: a, endpoints: [10.0.0.1:2379] }]
tracing:
  endpoint: collector:4318
  sampleRatio: 2
`),
    [
      "tracing.endpoint: must be an http:// or https:// URL (line 3)",
      "tracing.sampleRatio: must be at most 1 (line 4)",
    ],
  );
});

test("what is no YAML mapping is refused", () => {
  assert.deepEqual(problems("shards: 1\nshards: 2\n"), ["shards is given twice (line 2)"]);
  assert.deepEqual(problems("shards: [1\n"), [
    "Flow sequence in block collection must be sufficiently indented and end with a ] (line 2)",
  ]);
  const tag = "tags have no meaning here (Unresolved tag: !mine) (line 1)";
  assert.deepEqual(problems("shards: !mine 1\n"), [tag]);
  assert.deepEqual(problems("- 1\n"), ["must be a mapping, not a list"]);
  assert.deepEqual(problems(""), ["shards: is missing"]);
});

/** Each with the one problem that is named, after two shards on lines 2 to 6. */
const hostile: Readonly<Record<string, readonly [text: string, problem: string]>> = {
  "an alias of itself": ["listen: &a [*a]", "*a is a part of itself (line 7)"],
  "an alias of what is around it": ["log: &a {level: {b: [*a]}}", "*a is a part of itself (line 7)"],
  "aliases that multiply": [
    [
      "x0: &x0 [1, 2]",
      ...Array.from({ length: 30 }, (_, i) => `x${i + 1}: &x${i + 1} [*x${i}, *x${i}]`),
    ].join("\n"),
    "has more than 100000 values (line 21)",
  ],
  "aliases that nest": [
    ["x0: &x0 1", ...Array.from({ length: 5_000 }, (_, i) => `x${i + 1}: &x${i + 1} [*x${i}]`)].join("\n"),
    "is nested more than 64 deep (line 71)",
  ],
  "an alias of nothing": ["log: *nothing", "*nothing: there is no &nothing before it (line 7)"],
  "an alias as a key": ["log: &a info\n*a : 1", "has a key that is not plain text (line 8)"],
  "a mapping as a key": ["{a: 1}: 2", "has a key that is not plain text (line 7)"],
  "no key": [": 1", "has a key that is not plain text (line 7)"],
  "open brackets": [`x: ${"[".repeat(100_000)}`, "is nested more than 64 deep (line 7)"],
  brackets: [`x: ${"[".repeat(20_000)}${"]".repeat(20_000)}`, "is nested more than 64 deep (line 7)"],
  braces: [`x: ${"{a: ".repeat(20_000)}1${"}".repeat(20_000)}`, "is nested more than 64 deep (line 7)"],
  dashes: [`x:\n${"- ".repeat(20_000)}1`, "is nested more than 64 deep (line 8)"],
  indentation: [
    Array.from({ length: 1_000 }, (_, i) => `${" ".repeat(i)}x:`).join("\n"),
    "is nested more than 64 deep (line 72)",
  ],
  "a long text": [`x: ${"a".repeat(2_000_000)}`, "is longer than 1048576 bytes"],
  "a key given twice": ["log: {level: info, level: warn}", "level is given twice (line 7)"],
  "a tag of YAML": ["listen: !!binary aGk=", "tags have no meaning here (tag:yaml.org,2002:binary) (line 7)"],
  "a tag of a language": [
    'log: !!js/function "x"',
    "tags have no meaning here (Unresolved tag: tag:yaml.org,2002:js/function) (line 7)",
  ],
  "two documents": ["---\nshards: []", "has several documents (---); only one is allowed (line 7)"],
};

test("hostile YAML is refused in a line that says what and where", async (t) => {
  for (const [name, [text, problem]] of Object.entries(hostile)) {
    await t.test(name, () => {
      assert.deepEqual(problems(`${twoShards}${text}\n`), [problem]);
    });
  }
});

test("aliases are fine as long as they do not multiply, tags as long as they say what is there", () => {
  const shards = Array.from(
    { length: 255 },
    (_, i) => `  - {name: s${i}, weight: *w, endpoints: [10.0.0.1:${i + 1}]}`,
  );
  const text = `shards:\n  - {name: first, weight: &w !!int 3, endpoints: [10.0.0.2:1]}\n${shards.slice(1).join("\n")}\n`;
  const config = parseConfig(text, "test.yaml");
  assert.equal(config.shards.length, 255);
  assert.ok(config.shards.every(({ weight }) => weight === 3));
});

test("workers that are no number are told what they can be", () => {
  assert.deepEqual(problems(`${twoShards}workers: many\n`), ["workers: must be auto or a number (line 7)"]);
});

test("a file without end is not read to its end", () => {
  assert.throws(() => loadConfig("/dev/zero"), {
    name: "ConfigError",
    message: /is longer than 1048576 bytes/,
  });
});

test("a file is read, and one that is not there is named", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "braid-config-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "shards.yaml");
  writeFileSync(path, twoShards);
  assert.deepEqual(loadConfig(path), parseConfig(twoShards, path));
  const missing = join(directory, "missing.yaml");
  assert.throws(() => loadConfig(missing), {
    name: "ConfigError",
    message: `${missing} cannot be used:\n  there is no such file`,
  });
  assert.throws(() => loadConfig(directory), { name: "ConfigError", message: /cannot be read: EISDIR/ });
});

test("the example in the repository is valid, also with everything in it uncommented", async (t) => {
  const example = loadConfig("shards.yaml");
  assert.deepEqual(
    example.shards.map(({ name, endpoints }) => [name, ...endpoints]),
    [
      ["east", "127.0.0.1:23791"],
      ["west", "127.0.0.1:23792"],
      ["north", "127.0.0.1:23793"],
    ],
  );
  const text = readFileSync("shards.yaml", "utf8");
  // Sections given as comments: `# name:` and the indented lines after it.
  const sections = [...text.matchAll(/^# (?=[A-Za-z0-9]+:$)[^\n]*\n(?:# {2}[^\n]*\n)+/gm)].map(([section]) =>
    section.replace(/^# /gm, ""),
  );
  assert.deepEqual(
    sections.map((section) => Object.keys(parse(section))[0]),
    ["advertise", "timeline", "routing"],
  );
  const given = text.replace(/^#.*$/gm, "");
  for (const section of sections) {
    await t.test(section.split("\n")[0], () => void parseConfig(`${given}${section}`, "shards.yaml"));
  }
});

test("auto means a worker for each core", () => {
  assert.equal(parseConfig(`${twoShards}workers: auto`, "test.yaml").workers, availableParallelism());
  assert.deepEqual(problems(`${twoShards}workers: 0`).length, 1);
});
