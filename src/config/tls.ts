import { z } from "zod";
import { cipherOf, withTls13 } from "./ciphers.js";
import type { Find, Path } from "./problems.js";
import type { ListenTlsConfig, ShardTlsConfig } from "./types.js";

const file = z.string().min(1);

const cipher = z.string().transform((text, context) => {
  const name = cipherOf(text);
  if (name !== undefined) return name;
  context.issues.push({ code: "custom", message: "is no cipher suite that is known here", input: text });
  return z.NEVER;
});

/** TLS on the listen addresses. */
export const listenTlsSchema = z.strictObject({
  certFile: file,
  keyFile: file,
  clientCaFile: file.optional(),
  minVersion: z.enum(["TLS1.2", "TLS1.3"]).default("TLS1.2"),
  cipherSuites: z.array(cipher).min(1).optional(),
});

/** TLS to a cluster, or to all of them. */
export const shardTlsSchema = z.strictObject({
  caFile: file.optional(),
  certFile: file.optional(),
  keyFile: file.optional(),
  serverName: z.string().min(1).optional(),
  insecureSkipVerify: z.boolean().optional(),
});

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

/** What is wrong with a section by itself. */
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

/** What a cluster uses: its own fields, the others from the section for all. To be spread into its configuration. */
export function resolveShardTls(
  cluster: { readonly endpoints: readonly string[]; readonly tls?: ShardTlsShape | undefined },
  common: ShardTlsShape | undefined,
  path: Path,
  find: Find,
): { tls?: ShardTlsConfig } {
  const own = cluster.tls;
  checkShardTls(own, [...path, "tls"], find);
  if (!cluster.endpoints.some((endpoint) => endpoint.startsWith("https://"))) {
    if (own) find([...path, "tls"], "has no use: none of the endpoints begins with https://");
    return {};
  }
  return { tls: { ...common, ...own } };
}
