import { SHARD_FLAGS } from "../../src/dev/etcd.js";
import { freePort } from "../../src/dev/ports.js";
import type { Pair } from "./certificates.js";
import { type EtcdOptions, type EtcdProcess, startEtcd } from "./etcd.js";

export interface TlsEtcd {
  readonly etcd: EtcdProcess;
  /** `https://127.0.0.1:port`; the plain port is there as well. */
  readonly url: string;
}

/** Starts an etcd that speaks TLS on a second port. With `clientCaFile` only clients with a certificate are let in. */
export async function startTlsEtcd(
  pair: Pair,
  clientCaFile?: string,
  options: Omit<EtcdOptions, "port" | "flags"> = {},
): Promise<TlsEtcd> {
  const [port, securePort] = [await freePort(), await freePort()];
  const url = `https://127.0.0.1:${securePort}`;
  const etcd = await startEtcd({
    ...options,
    port,
    flags: [
      ...SHARD_FLAGS,
      ...["--listen-client-urls", `http://127.0.0.1:${port},${url}`],
      ...["--cert-file", pair.certFile, "--key-file", pair.keyFile],
      ...(clientCaFile === undefined ? [] : ["--client-cert-auth", "--trusted-ca-file", clientCaFile]),
    ],
  });
  return { etcd, url };
}
