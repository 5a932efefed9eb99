import assert from "node:assert/strict";
import { readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { connect as connectPlain } from "node:net";
import { afterEach, describe, test } from "node:test";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import type { ListenTlsConfig } from "../../src/config/tls.js";
import { ConnectionStats } from "../../src/stats/connections.js";
import { serveGrpc } from "../../src/transport/grpc/serve.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import type { GrpcServer } from "../../src/transport/server.js";
import { Authority, type Pair } from "../support/certificates.js";
import { until } from "../support/until.js";

const UNARY = "/test.Test/Unary";
const identity = (bytes: Buffer) => bytes;
const authority = new Authority();
const clients = new Authority("client authority");

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Connects; resolves when the handshake is done. */
function dial(address: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    const ca = readFileSync(authority.caFile);
    const socket = connect({ host, port: Number(port), ca, ...options }, () => resolve(socket));
    socket.on("error", reject);
    cleanups.push(() => socket.destroy());
  });
}

/** The names in the certificate that new connections get. */
async function served(address: string): Promise<string | undefined> {
  const socket = await dial(address, { checkServerIdentity: () => undefined });
  const { subjectaltname } = socket.getPeerCertificate();
  socket.destroy();
  return subjectaltname;
}

function get(address: string, pair?: Pair): Promise<string> {
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    const ca = readFileSync(authority.caFile);
    request({ host, port, path: "/x", ca, agent: false, ...contentOf(pair) }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text) => {
        body += text;
      });
      response.once("end", () => resolve(`${response.statusCode} ${body}`));
    })
      .once("error", reject)
      .end();
  });
}

function contentOf(pair: Pair | undefined): { cert?: Buffer; key?: Buffer } {
  return pair === undefined ? {} : { cert: readFileSync(pair.certFile), key: readFileSync(pair.keyFile) };
}

function call(address: string, message: string, pair?: Pair): Promise<string> {
  const { cert, key } = contentOf(pair);
  const client = new Client(
    address,
    credentials.createSsl(readFileSync(authority.caFile), key ?? null, cert ?? null),
    { "grpc.use_local_subchannel_pool": 1 },
  );
  cleanups.push(() => client.close());
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      UNARY,
      identity,
      identity,
      Buffer.from(message),
      (error: ServiceError | null, response?: Buffer) => (error ? reject(error) : resolve(String(response))),
    );
  });
}

for (const [name, transport] of Object.entries({ native: serveHttp2, "grpc-js": serveGrpc })) {
  describe(name, () => {
    interface Served {
      readonly address: string;
      readonly server: GrpcServer;
      readonly log: string[];
      readonly stats: ConnectionStats;
    }

    async function serve(tls: Partial<ListenTlsConfig> = {}): Promise<Served> {
      const log: string[] = [];
      const write = (fields: object, text: string) => log.push(`${text} ${JSON.stringify(fields)}`);
      const stats = new ConnectionStats();
      const server = await transport(
        { unary: new Map([[UNARY, (_call, bytes, reply) => reply(undefined, bytes)]]), stream: new Map() },
        {
          listen: ["127.0.0.1:0"],
          maxReceiveBytes: 2_000_000,
          tls: { ...authority.issue(), minVersion: "TLSv1.2", ...tls },
          connections: stats,
          log: { info: write, warn: write },
        },
      );
      cleanups.push(() => server.shutdown(0));
      return { address: server.addresses[0], server, log, stats };
    }

    test("gRPC and HTTPS share a port, with the protocol that the client supports", async () => {
      const { address, stats } = await serve();
      assert.equal(await call(address, "x".repeat(100_000)), "x".repeat(100_000));
      assert.equal(await get(address), "404 404 page not found\n");
      for (const [offered, chosen] of [
        [["h2"], "h2"],
        [["h2", "http/1.1"], "http/1.1"],
        [["http/1.1"], "http/1.1"],
        [undefined, false],
      ] as const) {
        const options = { ALPNProtocols: offered && [...offered] };
        assert.equal((await dial(address, options)).alpnProtocol, chosen);
      }
      assert.deepEqual(stats.acceptedBy, { http1: 1, http2: 1 });
    });

    test("mutual TLS: only clients with a certificate of the authority are served", async () => {
      const { address, log } = await serve({ clientCaFile: clients.caFile });
      const pair = clients.issue();
      assert.equal(await call(address, "mine", pair), "mine");
      assert.equal(await get(address, pair), "404 404 page not found\n");
      await assert.rejects(get(address));
      await until("the log says why", () =>
        log.some((line) => line.includes("the client sent no certificate")),
      );
      await assert.rejects(get(address, authority.issue()));
      await assert.rejects(call(address, "other", clients.issue({ hours: -1 })));
    });

    test("the log has the reason why a client's certificate is rejected", async () => {
      for (const [pair, reason] of [
        [authority.issue(), `the client's certificate is not signed by an authority in ${clients.caFile}`],
        [clients.issue({ hours: -1 }), "the client's certificate has expired"],
      ] as const) {
        const { address, log, stats } = await serve({ clientCaFile: clients.caFile });
        await assert.rejects(get(address, pair));
        await until("the log says why", () => log.some((line) => line.includes(JSON.stringify(reason))));
        assert.equal(stats.refused.tls, 1);
      }
    });

    test("new connections use new files; unusable files are not used, and the log has the reason", async () => {
      const pair = authority.issue({ names: ["first.example", "127.0.0.1"] });
      const { address, log, server } = await serve(pair);
      const old = await dial(address);
      assert.match((await served(address))!, /first/);
      authority.reissue(pair, { names: ["second.example", "127.0.0.1"] });
      await until("they are noticed", async () => /second/.test((await served(address))!));
      assert.equal(old.destroyed, false);

      writeFileSync(pair.keyFile, readFileSync(authority.issue().keyFile));
      server.reloadCertificates();
      assert.match(log.at(-1)!, new RegExp(`${pair.keyFile}: is not the key of the certificate in`));
      rmSync(pair.certFile);
      server.reloadCertificates();
      assert.match(log.at(-1)!, new RegExp(`${pair.certFile}: there is no such file`));
      symlinkSync(pair.certFile, pair.certFile);
      server.reloadCertificates();
      assert.match(log.at(-1)!, new RegExp(`${pair.certFile}: ELOOP`));
      rmSync(pair.certFile);
      authority.reissue(pair, { hours: -1 });
      server.reloadCertificates();
      assert.match(log.at(-1)!, new RegExp(`${pair.certFile}: the certificate expired at`));
      assert.match((await served(address))!, /second/);

      authority.reissue(pair, { names: ["third.example", "127.0.0.1"], hours: 5 });
      server.reloadCertificates();
      assert.match((await served(address))!, /third/);
      assert.ok(Math.abs(server.certificateExpiresAt! - Date.now() - 5 * 3_600_000) < 60_000);
    });

    test("minimum version and cipher suites are enforced", async () => {
      const { address } = await serve({ minVersion: "TLSv1.3" });
      await assert.rejects(dial(address, { maxVersion: "TLSv1.2" }), /protocol version/);
      assert.equal((await dial(address)).getProtocol(), "TLSv1.3");
      const picky = await serve({ ciphers: ["ECDHE-ECDSA-CHACHA20-POLY1305"] });
      const socket = await dial(picky.address, { maxVersion: "TLSv1.2" });
      assert.equal(socket.getCipher().name, "ECDHE-ECDSA-CHACHA20-POLY1305");
    });

    test("a client without TLS is disconnected", async () => {
      const { address, log } = await serve();
      const [host, port] = address.split(":");
      const socket = connectPlain({ host, port: Number(port) });
      socket.write("GET / HTTP/1.1\r\n\r\n");
      socket.resume();
      await new Promise((resolve) => socket.once("close", resolve));
      await until("the log says why", () =>
        log.some((line) => line.includes("the client does not speak TLS")),
      );
    });

    test("a stalled handshake is ended after 10 s", async () => {
      const { address, stats } = await serve();
      const [host, port] = address.split(":");
      const socket = connectPlain({ host, port: Number(port) });
      socket.on("error", () => {});
      cleanups.push(() => socket.destroy());
      await until("it is connected", () => stats.open === 1);
      await until("it is closed", () => stats.open === 0);
      assert.equal(stats.refused.tls, 1);
    });

    test("shutdown ends stalled handshakes", async () => {
      const { address, server, stats } = await serve();
      const [host, port] = address.split(":");
      const socket = connectPlain({ host, port: Number(port) });
      socket.on("error", () => {});
      cleanups.push(() => socket.destroy());
      await until("it is connected", () => stats.open === 1);
      const idle = await dial(address);
      await until("so is the other", () => stats.open === 2);
      idle.on("error", () => {});
      await server.shutdown(50);
      await until("both are closed", () => stats.open === 0);
    });
  });
}

test("unusable files at the start are a TlsFileError", async () => {
  const pair = authority.issue();
  const other = authority.issue();
  const missing = `${pair.certFile}.gone`;
  for (const [tls, message] of [
    [{ certFile: missing }, `${missing}: there is no such file`],
    [{ certFile: pair.keyFile }, `${pair.keyFile}: holds no certificate in PEM form`],
    [{ keyFile: pair.certFile }, `${pair.certFile}: holds no private key in PEM form`],
    [{ keyFile: other.keyFile }, `${other.keyFile}: is not the key of the certificate in ${pair.certFile}`],
    [{ clientCaFile: missing }, `${missing}: there is no such file`],
  ] as const) {
    const options = {
      listen: ["127.0.0.1:0"],
      maxReceiveBytes: 1,
      tls: { ...pair, minVersion: "TLSv1.2", ...tls },
    };
    await assert.rejects(
      serveHttp2({ unary: new Map(), stream: new Map() }, options as Parameters<typeof serveHttp2>[1]),
      { name: "TlsFileError", message },
    );
  }
});
