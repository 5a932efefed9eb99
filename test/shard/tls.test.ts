import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import type { Transport } from "../../src/config/types.js";
import { openShard, type ShardClient } from "../../src/shard/client.js";
import type { ShardTls } from "../../src/shard/tls.js";
import { withDetail } from "../../src/status/error.js";
import { RangeRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { temporaryFolder } from "../support/braid.js";
import { Authority, type Pair } from "../support/certificates.js";
import { startTlsEtcd, type TlsEtcd } from "../support/tlsEtcd.js";
import { until } from "../support/until.js";

const GET = RangeRequest.encode({ key: Buffer.from("k") });
const authority = new Authority();
const clients = new Authority("authority of the clients");
const stranger = new Authority("somebody else");

/** etcd reads its certificate again for every connection. */
let pair: Pair;
let open: TlsEtcd;
let mutual: TlsEtcd;

before(async () => {
  pair = authority.issue();
  [open, mutual] = await Promise.all([startTlsEtcd(pair), startTlsEtcd(pair, clients.caFile)]);
});
after(() => Promise.all([open.etcd.remove(), mutual.etcd.remove()]));

const shards: ShardClient[] = [];
afterEach(() => {
  for (const shard of shards.splice(0)) shard.close();
  authority.reissue(pair);
});

for (const transport of ["native", "grpc-js"] as const satisfies readonly Transport[]) {
  describe(transport, () => {
    const log: string[] = [];

    function connect(endpoint: string, tls?: ShardTls): ShardClient {
      const write = (fields: object, text: string) => log.push(`${text} ${JSON.stringify(fields)}`);
      const shard = openShard({
        index: 0,
        name: "east",
        endpoints: [endpoint],
        requestTimeoutMs: 10_000,
        connectTimeoutMs: 1_000,
        transport,
        tls,
        log: { debug: () => {}, info: write, warn: write },
      });
      shards.push(shard);
      return shard;
    }

    const get = (shard: ShardClient) => shard.call(KV.Range, GET, { idempotent: true });
    const { caFile } = authority;

    test("TLS and mutual TLS", async () => {
      await get(connect(open.url, { caFile }));
      await get(connect(mutual.url, { caFile, ...clients.issue() }));
    });

    test("a certificate for another name: serverName, or no verification", async () => {
      authority.reissue(pair, { names: ["etcd.example"] });
      await get(connect(open.url, { caFile, serverName: "etcd.example" }));
      await get(connect(open.url, { insecureSkipVerify: true }));
    });

    test("errors say what is wrong", async () => {
      const own = stranger.issue();
      const cases: [endpoint: string, tls: ShardTls, server: object, reason: RegExp][] = [
        [
          open.url,
          { caFile: stranger.caFile },
          {},
          new RegExp(`its certificate is not signed by an authority in ${stranger.caFile}`),
        ],
        [
          open.url,
          {},
          {},
          /its certificate is not signed by an authority in this system's list \(set caFile\)/,
        ],
        [
          open.url,
          { caFile },
          { names: ["etcd.example"] },
          /its certificate is not for 127\.0\.0\.1 \(see serverName\)/,
        ],
        [
          open.url,
          { caFile, serverName: "other.example" },
          { names: ["etcd.example"] },
          /its certificate is for DNS:etcd\.example, not for other\.example \(see serverName\)/,
        ],
        [open.url, { caFile }, { hours: -1 }, /its certificate has expired/],
        [mutual.url, { caFile }, {}, /client certificate/],
        [mutual.url, { caFile, ...own }, {}, /certificate/],
        [open.etcd.url.replace("http:", "https:"), { caFile }, {}, /it does not speak TLS|does it speak TLS/],
        [open.url.replace("https:", "http:"), {}, {}, /connection closed during setup/],
      ];
      for (const [endpoint, tls, server, reason] of cases) {
        authority.reissue(pair, server);
        const shard = connect(endpoint, tls);
        const ended = assert.rejects(get(shard), /^StatusError: shard "east": /);
        const problem = () => shard.endpoints()[0]!.lastError;
        await until("the endpoint has a problem", () => problem() !== undefined);
        assert.match(problem()!, reason);
        shard.close();
        await ended;
      }
    });

    test("new files are used automatically, unusable ones are not", async () => {
      const folder = temporaryFolder();
      const files = {
        caFile: join(folder, "ca"),
        certFile: join(folder, "cert"),
        keyFile: join(folder, "key"),
      };
      const install = (ca: Authority, { certFile, keyFile }: Pair) => {
        copyFileSync(ca.caFile, files.caFile);
        copyFileSync(certFile, files.certFile);
        copyFileSync(keyFile, files.keyFile);
      };
      install(stranger, stranger.issue());
      const shard = connect(mutual.url, files);
      await assert.rejects(get(shard), (error: Error) => {
        const reason = `its certificate is not signed by an authority in ${files.caFile}`;
        const endpoint = mutual.url.replace("https://", "");
        assert.equal(withDetail(error), `shard "east": no endpoint reachable (${endpoint}: ${reason})`);
        return true;
      });
      install(authority, { ...clients.issue(), keyFile: stranger.issue().keyFile });
      shard.reloadCertificates();
      assert.match(log.at(-1)!, new RegExp(`shard \\\\"east\\\\".*${files.keyFile}: is not the key`));
      install(authority, clients.issue({ hours: 3 }));
      await until("it is connected", () =>
        get(shard).then(
          () => true,
          () => false,
        ),
      );
      assert.ok(Math.abs(shard.certificateExpiresAt - Date.now() - 3 * 3_600_000) < 60_000);
    });

    test("unusable files at the start, and a certificate with a CommonName with authentication", () => {
      assert.throws(() => connect(open.url, { caFile: "/nowhere/ca.crt" }), {
        message: 'shard "east": /nowhere/ca.crt: there is no such file',
      });
      const named = clients.issue({ commonName: "root" });
      connect(mutual.url, { caFile, ...named });
      assert.throws(
        () => connect(mutual.url, { caFile, ...named, noCommonName: true }),
        new RegExp(`^StatusError: shard "east": ${named.certFile}: its CommonName is "root"`),
      );
    });
  });
}
