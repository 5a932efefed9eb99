import { z } from "zod";
import { cipherOf, withTls13 } from "./ciphers.js";
import { nonEmpty, type ReadOnly } from "./fields.js";
import type { Find, Path } from "./problems.js";

const cipher = z.string().transform((text, context) => {
  const name = cipherOf(text);
  if (name !== undefined) return name;
  context.issues.push({ code: "custom", message: "is not a known cipher suite", input: text });
  return z.NEVER;
});

/** TLS on the listen addresses. */
export const listenTlsSchema = z.strictObject({
  certFile: nonEmpty.meta({
    description: "The proxy's certificate, followed by intermediate certificates.",
    form: "PEM file",
  }),
  keyFile: nonEmpty.meta({ description: "The private key of the certificate.", form: "PEM file" }),
  clientCaFile: nonEmpty.optional().meta({
    description: "Certificate authorities. Every client must have a certificate from one of them.",
    form: "PEM file",
    absent: "clients need no certificate",
  }),
  minVersion: z
    .enum(["TLS1.2", "TLS1.3"])
    .default("TLS1.2")
    .meta({ description: "Oldest version that a client may use, like etcd's `--tls-min-version`." }),
  cipherSuites: z
    .array(cipher)
    .min(1)
    .optional()
    .meta({
      description:
        "Cipher suites for TLS 1.2, in order of preference, like etcd's `--cipher-suites`. The suites of TLS 1.3 stay " +
        "enabled, unless the list contains some.",
      form: "etcd's or OpenSSL's names",
      absent: "Node.js' default list",
    }),
});

/** TLS to a cluster, or to all of them. */
export const shardTlsSchema = z.strictObject({
  caFile: nonEmpty.optional().meta({
    description: "Certificate authorities of the endpoints.",
    form: "PEM file",
    absent: "the authorities that the system trusts",
  }),
  certFile: nonEmpty.optional().meta({
    description:
      "The proxy's client certificate, for etcds with `--client-cert-auth`. If the proxy has a user (`auth`), it must " +
      "have [no CommonName](security.md#commonname-is-not-an-identity).",
    form: "PEM file",
    absent: "no client certificate",
  }),
  keyFile: nonEmpty.optional().meta({
    description: "The private key of the certificate.",
    form: "PEM file",
    absent: "no client certificate",
  }),
  serverName: nonEmpty.optional().meta({
    description: "The name that the endpoints' certificates must have.",
    absent: "the host of each endpoint",
  }),
  insecureSkipVerify: z.boolean().optional().meta({
    description: "Accepts any certificate, so any server can impersonate the cluster. For tests only.",
    absent: "`false`",
  }),
});

export type ListenTlsConfig = ReadOnly<
  Omit<z.output<typeof listenTlsSchema>, "minVersion" | "cipherSuites">
> & {
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  /** OpenSSL's names, in order of preference; undefined: Node's default. */
  readonly ciphers?: readonly string[] | undefined;
};

export type ShardTlsConfig = ReadOnly<z.output<typeof shardTlsSchema>>;

type ShardTlsShape = z.output<typeof shardTlsSchema>;

export function resolveListenTls(
  shape: z.output<typeof listenTlsSchema> | undefined,
): ListenTlsConfig | undefined {
  if (shape === undefined) return undefined;
  const { minVersion, cipherSuites, ...files } = shape;
  return {
    ...files,
    minVersion: minVersion === "TLS1.3" ? "TLSv1.3" : "TLSv1.2",
    ciphers: cipherSuites && withTls13(cipherSuites),
  };
}

/** Checks the fields of one section against each other. */
export function checkShardTls(shape: ShardTlsShape | undefined, path: Path, find: Find): void {
  if (shape === undefined) return;
  if (shape.certFile !== undefined && shape.keyFile === undefined)
    find([...path, "certFile"], "needs a keyFile");
  if (shape.keyFile !== undefined && shape.certFile === undefined)
    find([...path, "keyFile"], "needs a certFile");
  if (shape.insecureSkipVerify && shape.caFile !== undefined) {
    find([...path, "insecureSkipVerify"], "makes caFile useless: leave out one of them");
  }
}

/** The TLS settings of a cluster: its own fields, and the others from `common`. Spread it into the cluster's configuration. */
export function resolveShardTls(
  cluster: { readonly endpoints: readonly string[]; readonly tls?: ShardTlsShape | undefined },
  common: ShardTlsShape | undefined,
  path: Path,
  find: Find,
): { tls?: ShardTlsConfig } {
  const own = cluster.tls;
  checkShardTls(own, [...path, "tls"], find);
  if (!cluster.endpoints.some((endpoint) => endpoint.startsWith("https://"))) {
    if (own) find([...path, "tls"], "has no effect: none of the endpoints begins with https://");
    return {};
  }
  return { tls: { ...common, ...own } };
}
