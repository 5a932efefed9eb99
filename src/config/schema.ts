import { z } from "zod";
import { formatHostPort, parseClientUrl, parseHostPort } from "./address.js";
import { authSchema, routingSchema, shardsSchema, timelineSchema } from "./clusters.js";
import { address, milliseconds, nonEmpty, positive } from "./fields.js";
import { listenTlsSchema, shardTlsSchema } from "./tls.js";

const hostPort = address((text) => formatHostPort(parseHostPort(text)));

/** More processes than this on one machine are a mistake. */
export const maxWorkers = 64;

/**
 * The file's shape: every setting with its range, its default and its meaning (`Setting`). What spans several fields is
 * checked in `resolve`.
 */
export const schema = z.strictObject({
  listen: z
    .array(hostPort)
    .min(1)
    .prefault(["127.0.0.1:2379"])
    .meta({
      description:
        "Addresses that clients connect to. Each serves gRPC, the JSON gateway, health checks and metrics. With port 0 " +
        "the system chooses the port.",
      form: "host:port, IPv6 as [::1]:2379",
      excerpts: [{ listen: ["10.0.1.1:2379", "127.0.0.1:2379"] }],
    }),
  advertise: z
    .array(address(parseClientUrl))
    .min(1)
    .optional()
    .meta({
      description:
        "Client URLs of all proxies of the store, one for each proxy. `etcdctl member list` shows them, and clients with " +
        "auto-sync connect to them. Needed with more than one proxy, and when `listen` has a wildcard (0.0.0.0).",
      form: "http://host:port or https://host:port",
      absent: "this proxy's `listen` addresses",
      excerpts: [{ advertise: ["http://braid-1.example:2379", "http://braid-2.example:2379"] }],
    }),
  tls: listenTlsSchema.optional().meta({
    description:
      "TLS for clients, on all `listen` addresses. New content of the files is used without a restart. " +
      "See [TLS](security.md#tls).",
    absent: "no TLS",
    excerpts: [
      {
        tls: {
          certFile: "/etc/braid/server.crt",
          keyFile: "/etc/braid/server.key",
          clientCaFile: "/etc/braid/ca.crt",
          minVersion: "TLS1.2",
          cipherSuites: ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        },
      },
    ],
  }),
  shardTls: shardTlsSchema.optional().meta({
    description:
      "TLS to the shards and the timeline host, for all endpoints that begin with `https://`. New content of the files is " +
      "used without a restart. See [TLS to the shards](security.md#to-the-shards).",
    absent: "`https://` endpoints are checked against the authorities that the system trusts",
    excerpts: [
      {
        shardTls: {
          caFile: "/etc/braid/shards-ca.crt",
          certFile: "/etc/braid/proxy.crt",
          keyFile: "/etc/braid/proxy.key",
          serverName: "etcd.example",
        },
        shards: [{ name: "east", endpoints: ["https://10.0.0.1:2379"] }],
      },
      {
        shardTls: { insecureSkipVerify: true },
        shards: [{ name: "east", endpoints: ["https://10.0.0.1:2379"] }],
      },
    ],
  }),
  workers: z
    .union([z.literal("auto"), positive(maxWorkers)])
    .default(1)
    .meta({
      description:
        "Processes that share the `listen` addresses. Each is a full proxy, with its own connections to the shards. " +
        "`auto` is one for each processor core. See [More cores](performance.md#more-cores).",
    }),
  shards: shardsSchema,
  timeline: timelineSchema,
  routing: routingSchema,
  auth: authSchema,
  limits: z
    .strictObject({
      maxRequestBytes: positive(2 ** 30)
        .default(1_572_864)
        .meta({
          description: "Largest request of a client. Use the shards' `--max-request-bytes`.",
          unit: "bytes",
        }),
      maxTxnOps: positive().default(128).meta({
        description: "Most operations in one branch of a transaction. Use the shards' `--max-txn-ops`.",
        live: true,
      }),
      requestTimeoutMs: milliseconds.default(7_000).meta({
        description: "How long a request to a shard may take, unless the client's deadline is earlier.",
        unit: "milliseconds",
      }),
      connectTimeoutMs: milliseconds.default(2_000).meta({
        description: "How long a request waits for a connection to its shard.",
        unit: "milliseconds",
      }),
      maxConnections: positive()
        .default(20_000)
        .meta({
          description:
            "Connections of clients that one worker has open at the same time, on all `listen` addresses together. The limit " +
            "of open files may allow fewer.",
        }),
    })
    .prefault({})
    .meta({
      description: "Bounds on clients and requests. [Limits](limits.md) lists those without a setting, too.",
    }),
  http2: z
    .strictObject({
      maxStreams: positive(2 ** 31 - 1)
        .default(10_000)
        .meta({
          description:
            "Requests and streams that one connection may have open, as etcd's `--max-concurrent-streams`.",
        }),
      keepaliveIntervalMs: milliseconds.default(7_200_000).meta({
        description:
          "The proxy pings a client that it has heard nothing from for this time, as etcd's `--grpc-keepalive-interval`.",
        unit: "milliseconds",
      }),
      keepaliveTimeoutMs: milliseconds.default(20_000).meta({
        description:
          "How long the client may take to answer a ping before its connection is closed, as etcd's " +
          "`--grpc-keepalive-timeout`.",
        unit: "milliseconds",
      }),
    })
    .prefault({})
    .meta({ description: "Bounds on clients' HTTP/2 connections." }),
  watch: z
    .strictObject({
      historyBytes: positive()
        .default(16 * 2 ** 20)
        .meta({
          description:
            "Recent events that each worker keeps in memory, for watches that start in the recent past and for slow clients.",
          unit: "bytes",
        }),
      streamBufferBytes: positive()
        .default(4 * 2 ** 20)
        .meta({
          description:
            "Most bytes that wait for one client stream. A client that is further behind gets the next events from the " +
            "history, once it has read what waits.",
          unit: "bytes",
          live: true,
        }),
      progressNotifyMs: milliseconds.default(600_000).meta({
        description:
          "Time without events after which a watch that asked for progress notifications gets one. " +
          "[Kubernetes](guides/kubernetes.md) needs 5000.",
        unit: "milliseconds",
        live: true,
      }),
    })
    .prefault({})
    .meta({ description: "Memory for watches, and their progress notifications." }),
  http: z
    .strictObject({
      cors: z.array(nonEmpty).default([]).meta({
        description:
          "Origins whose web pages may read responses, as etcd's `--cors`. `*` allows all, an empty list none.",
        form: "origins, or `*`",
        live: true,
      }),
      hosts: z.array(nonEmpty).default([]).meta({
        description:
          "Host names that clients may use without TLS, as etcd's `--host-whitelist`. `*` or an empty list allows all.",
        form: "host names, or `*`",
        live: true,
      }),
    })
    .prefault({})
    .meta({
      description:
        "HTTP/1.1 on the `listen` addresses: etcd's JSON gateway, `/version`, `/metrics` and the health checks.",
      excerpts: [{ http: { cors: ["https://console.example"], hosts: ["etcd.example", "127.0.0.1"] } }],
    }),
  reads: z
    .enum(["linearizable", "relaxed"])
    .default("linearizable")
    .meta({
      description:
        "What the revision in the header of a linearizable answer promises. `linearizable`: it is at least every revision " +
        "that any proxy has acknowledged before the call, as with one etcd. `relaxed`: values are just as fresh, but the " +
        "revision may be lower than what another proxy acknowledged a moment before. Reads of one shard then cost the " +
        "timeline host nothing, and go on while it is down. A lease grant costs it nothing either, unless the client chooses " +
        "the id, but while the host is down no lease is granted.",
      live: true,
    }),
  transport: z
    .enum(["native", "grpc-js"])
    .default("native")
    .meta({
      description:
        "What carries gRPC, to clients and to shards. `native` is the proxy's own HTTP/2, which takes a fraction of the " +
        "processor time. `grpc-js` is the library, to fall back on.",
    }),
  log: z
    .strictObject({
      level: z
        .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
        .default("info")
        .meta({ description: "Messages below this level are not logged.", live: true }),
      slowRequestMs: milliseconds.default(500).meta({
        description: "Requests that take longer are logged. This does not apply to streams.",
        unit: "milliseconds",
        live: true,
      }),
    })
    .prefault({})
    .meta({ description: "The log, on standard error. See [Logs](metrics.md#logs)." }),
  metrics: z
    .strictObject({
      listen: hostPort.optional().meta({
        description:
          "Another address, with plain HTTP, for `/metrics`, `/health`, `/livez` and `/readyz`, as etcd's " +
          "`--listen-metrics-urls`.",
        form: "host:port, IPv6 as [::1]:2379",
        absent: "`/metrics` is on the `listen` addresses only",
      }),
    })
    .prefault({})
    .meta({
      description: "Metrics for Prometheus. They are always at `/metrics` of every `listen` address.",
      excerpts: [{ metrics: { listen: "127.0.0.1:2381" } }],
    }),
  shutdown: z
    .strictObject({
      graceMs: milliseconds.default(5_000).meta({
        description: "How long requests in progress may take to finish after SIGTERM.",
        unit: "milliseconds",
        live: true,
      }),
    })
    .prefault({})
    .meta({ description: "How a proxy stops." }),
  tracing: z
    .strictObject({
      endpoint: z.url({ protocol: /^https?$/, error: "must be an http:// or https:// URL" }).meta({
        description: "URL that spans are sent to.",
        form: "http:// or https:// URL",
      }),
      sampleRatio: z.number().min(0).max(1).default(0.01).meta({
        description:
          "Share of the requests without a client's trace that are traced. With a client's trace, its decision counts.",
      }),
      serviceName: nonEmpty.default("etcd-braid").meta({ description: "Name of the service in the traces." }),
    })
    .optional()
    .meta({
      description:
        "Traces for an OpenTelemetry collector, by OTLP over HTTP. See [Traces](metrics.md#traces).",
      absent: "no traces",
      excerpts: [
        {
          tracing: {
            endpoint: "http://127.0.0.1:4318/v1/traces",
            sampleRatio: 0.01,
            serviceName: "etcd-braid",
          },
        },
      ],
    }),
});

/** A file that has the right shape, with defaults. */
export type Shape = z.output<typeof schema>;
