import { z } from "zod";
import { maxShards } from "../routing/create.js";
import {
  AddressError,
  formatEndpoint,
  formatHostPort,
  parseClientUrl,
  parseEndpoint,
  parseHostPort,
} from "./address.js";
import { listenTlsSchema, shardTlsSchema } from "./tls.js";
import { logLevels, readModes, transports } from "./types.js";

/** A string that `parse` turns into its one spelling, its `AddressError` becoming the problem. */
function address(parse: (text: string) => string) {
  return z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      context.issues.push({ code: "custom", message: error.message, input: text });
      return z.NEVER;
    }
  });
}

const endpoints = z.array(address((text) => formatEndpoint(parseEndpoint(text)))).min(1);
const positive = (max = Number.MAX_SAFE_INTEGER) => z.int().min(1).max(max);
/** What `setTimeout` can wait at most. */
const milliseconds = positive(2 ** 31 - 1);

/** Weights further apart make no sense, and would let a range of few keys cost many hashes (see `Cover`). */
const weight = z.number().min(0.01).max(100);

const shardName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    "must be 1 to 63 of A-Z a-z 0-9 . _ - and begin with a letter or digit",
  );

const delimiter = z
  .string()
  .refine((text) => Buffer.byteLength(text) === 1, "must be one byte")
  .transform((text) => Buffer.from(text)[0]);

const segments = z.int().min(0).max(1000);

const prefixBase64 = z
  .string()
  .refine((text) => Buffer.from(text, "base64").toString("base64") === text, "must be base64 with padding");

const secret = z.string().min(1);
/** Who the proxy is to an etcd; that there is exactly one password is checked in `resolve`. */
const credentials = z.strictObject({
  user: secret,
  password: secret.optional(),
  passwordFile: secret.optional(),
  passwordEnv: secret.optional(),
});

const shard = z.strictObject({
  name: shardName,
  endpoints,
  weight: weight.default(1),
  tls: shardTlsSchema.optional(),
  auth: credentials.optional(),
});

const rule = z.strictObject({
  prefix: z.string().optional(),
  prefixBase64: prefixBase64.optional(),
  delimiter: delimiter.default(0x2f),
  segments: segments.default(1),
  shard: z.string().optional(),
});

const defaultRule = z.strictObject({
  delimiter: delimiter.default(0x2f),
  segments: segments.default(1),
  shard: z.string().optional(),
});

/** More processes than this on one machine are a mistake. */
export const maxWorkers = 64;

/** The file's shape. What spans several fields is checked in `resolve`. */
export const schema = z.strictObject({
  listen: z
    .array(address((text) => formatHostPort(parseHostPort(text))))
    .min(1)
    .default(["127.0.0.1:2379"]),
  advertise: z.array(address(parseClientUrl)).min(1).optional(),
  tls: listenTlsSchema.optional(),
  shardTls: shardTlsSchema.optional(),
  workers: z.union([z.literal("auto"), positive(maxWorkers)]).default(1),
  shards: z.array(shard).min(1).max(maxShards),
  timeline: z
    .strictObject({
      host: z.string().optional(),
      endpoints: endpoints.optional(),
      tls: shardTlsSchema.optional(),
      auth: credentials.optional(),
    })
    .refine(
      ({ host, endpoints }) => host === undefined || endpoints === undefined,
      "give host or endpoints, not both",
    )
    .prefault({}),
  routing: z
    .strictObject({ default: defaultRule.optional(), rules: z.array(rule).max(10_000).default([]) })
    .prefault({}),
  auth: credentials
    .partial({ user: true })
    .extend({
      tokenKey: z
        .string()
        .refine((text) => text.length >= 16, "must be at least 16 characters")
        .optional(),
      tokenKeyFile: secret.optional(),
      tokenKeyEnv: secret.optional(),
      tokenTtlSeconds: positive(10 * 365 * 86_400).default(86_400),
    })
    .prefault({}),
  limits: z
    .strictObject({
      maxRequestBytes: positive(2 ** 30).default(1_572_864),
      maxTxnOps: positive().default(128),
      requestTimeoutMs: milliseconds.default(7_000),
      connectTimeoutMs: milliseconds.default(2_000),
      maxConnections: positive().default(20_000),
    })
    .prefault({}),
  http2: z
    .strictObject({
      maxStreams: positive(2 ** 31 - 1).default(10_000),
      keepaliveIntervalMs: milliseconds.default(7_200_000),
      keepaliveTimeoutMs: milliseconds.default(20_000),
    })
    .prefault({}),
  watch: z
    .strictObject({
      historyBytes: positive().default(16 * 2 ** 20),
      streamBufferBytes: positive().default(4 * 2 ** 20),
      progressNotifyMs: milliseconds.default(600_000),
    })
    .prefault({}),
  http: z
    .strictObject({
      cors: z.array(z.string().min(1)).default([]),
      hosts: z.array(z.string().min(1)).default([]),
    })
    .prefault({}),
  reads: z.enum(readModes).default("linearizable"),
  transport: z.enum(transports).default("native"),
  log: z
    .strictObject({
      level: z.enum(logLevels).default("info"),
      slowRequestMs: milliseconds.default(500),
    })
    .prefault({}),
  metrics: z
    .strictObject({ listen: address((text) => formatHostPort(parseHostPort(text))).optional() })
    .prefault({}),
  shutdown: z.strictObject({ graceMs: milliseconds.default(5_000) }).prefault({}),
  tracing: z
    .strictObject({
      endpoint: z.url({ protocol: /^https?$/, error: "must be an http:// or https:// URL" }),
      sampleRatio: z.number().min(0).max(1).default(0.01),
      serviceName: z.string().min(1).default("etcd-braid"),
    })
    .optional(),
});

/** A file that has the right shape, with defaults. */
export type Shape = z.output<typeof schema>;
