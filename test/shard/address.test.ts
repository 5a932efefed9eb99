import assert from "node:assert/strict";
import { test } from "node:test";
import { endpointAddress } from "../../src/shard/address.js";

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
    const address = endpointAddress(text);
    assert.deepEqual([address.label, address.target, address.secure], [label, target, false], text);
    if (text.startsWith("http:")) {
      assert.deepEqual(endpointAddress(text.replace("http:", "https:")), { ...address, secure: true });
    }
  }
});

test("malformed endpoints are refused with the reason", () => {
  const table: [text: string, reason: RegExp][] = [
    ["", /^must be host:port/],
    ["host", /^must be host:port/],
    ["host:0", /^the port must not be 0$/],
    ["host:65536", /^port 65536 is above 65535$/],
    ["host:x", /^must be host:port/],
    [":2379", /^the host is missing/],
    ["::1:2379", /^must be host:port/],
    ["ftp://h:1", /^"ftp" is not supported/],
    ["unix:", /^the path is missing/],
    ["a/b:1", /^"a\/b" is not a host name$/],
    ["[nonsense]:1", /^"nonsense" is not an IPv6 address$/],
  ];
  for (const [text, message] of table) {
    assert.throws(() => endpointAddress(text), { name: "AddressError", message }, text);
  }
});
