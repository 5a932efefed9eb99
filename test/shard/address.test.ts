import assert from "node:assert/strict";
import { test } from "node:test";
import { parseEndpoint } from "../../src/shard/address.js";

test("endpoints in all their forms", () => {
  const table: [text: string, label: string, target: string][] = [
    ["127.0.0.1:2379", "127.0.0.1:2379", "ipv4:127.0.0.1:2379"],
    ["http://127.0.0.1:2379", "127.0.0.1:2379", "ipv4:127.0.0.1:2379"],
    ["http://etcd-0.example:2379/", "etcd-0.example:2379", "dns:etcd-0.example:2379"],
    ["localhost:1", "localhost:1", "dns:localhost:1"],
    ["[::1]:2379", "[::1]:2379", "ipv6:[::1]:2379"],
    ["http://[fe80::1]:65535", "[fe80::1]:65535", "ipv6:[fe80::1]:65535"],
    ["unix:/run/etcd.sock", "unix:/run/etcd.sock", "unix:/run/etcd.sock"],
    ["unix:///run/etcd.sock", "unix:/run/etcd.sock", "unix:/run/etcd.sock"],
  ];
  for (const [text, label, target] of table) {
    const address = parseEndpoint(text);
    assert.deepEqual([address.label, address.target, address.secure], [label, target, false], text);
    if (text.startsWith("http:")) {
      assert.deepEqual(parseEndpoint(text.replace("http:", "https:")), { ...address, secure: true });
    }
  }
});

test("malformed endpoints are refused with the reason", () => {
  for (const text of [
    "",
    "host",
    "host:0",
    "host:65536",
    "host:x",
    ":2379",
    "::1:2379",
    "ftp://h:1",
    "unix:",
    "a/b:1",
  ]) {
    assert.throws(() => parseEndpoint(text), /expected host:port/, text);
  }
  assert.throws(() => parseEndpoint("[nonsense]:1"), /"nonsense" is not an IPv6 address/);
});
