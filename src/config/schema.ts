import { z } from "zod";
import { formatHostPort, parseClientUrl, parseHostPort } from "./address.js";
import { authSchema, routingSchema, shardsSchema, timelineSchema } from "./clusters.js";
import { address, milliseconds, nonEmpty, positive } from "./fields.js";
import { tenantsSchema } from "./tenants.js";
import { listenTlsSchema, shardTlsSchema } from "./tls.js";

const hostPort = address((text) => formatHostPort(parseHostPort(text)));

/** More processes than this on one machine are a mistake. */
export const MAX_WORKERS = 64;

/**
 * The shape of the file: every setting with its range, its default and its meaning (`Setting`). `resolve` checks rules
 * that span several fields.
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
        "auto-sync connect to them. Needed if there is more than one proxy, or if `listen` has a wildcard (0.0.0.0).",
      form: "http://host:port or https://host:port",
      absent: "this proxy's `listen` addresses",
      excerpts: [{ advertise: ["http://braid-1.example:2379", "http://braid-2.example:2379"] }],
    }),
  tls: listenTlsSchema.optional().meta({
    description:
      "TLS for clients, on all `listen` addresses. Changes to the files take effect without a restart. " +
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
      "TLS to the shards and the timeline host, for all endpoints that begin with `https://`. Changes to the files take " +
      "effect without a restart. See [TLS to the shards](security.md#to-the-shards).",
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
    .union([z.literal("auto"), positive(MAX_WORKERS)])
    .default(1)
    .meta({
      description:
        "Processes that share the `listen` addresses. Each is a full proxy, with its own connections to the shards. " +
        "`auto` means one for each CPU core. See [More cores](performance.md#more-cores).",
    }),
  shards: shardsSchema,
  timeline: timelineSchema,
  routing: routingSchema,
  auth: authSchema,
  tenants: tenantsSchema,
  limits: z
    .strictObject({
      maxRequestBytes: positive(2 ** 30)
        .default(1_572_864)
        .meta({
          description:
            "Maximum size of a client's request. The shards need `--max-request-bytes` 8 KiB higher.",
          unit: "bytes",
        }),
      maxTxnOps: positive().default(128).meta({
        description:
          "Maximum number of operations in one branch of a transaction. The shards need `--max-txn-ops` 2 higher.",
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
            "Maximum number of open client connections of one worker, on all `listen` addresses together. The limit of open " +
            "files may allow fewer.",
        }),
    })
    .prefault({})
    .meta({
      description: "Limits on clients and requests. [Limits](limits.md) also lists those without a setting.",
    }),
  http2: z
    .strictObject({
      maxStreams: positive(2 ** 31 - 1)
        .default(10_000)
        .meta({
          description:
            "Maximum number of open requests and streams of one connection, like etcd's `--max-concurrent-streams`.",
        }),
      keepaliveIntervalMs: milliseconds.default(7_200_000).meta({
        description:
          "The proxy pings a client after this time without data from it, like etcd's `--grpc-keepalive-interval`.",
        unit: "milliseconds",
      }),
      keepaliveTimeoutMs: milliseconds.default(20_000).meta({
        description:
          "How long the client may take to answer a ping before its connection is closed, like etcd's " +
          "`--grpc-keepalive-timeout`.",
        unit: "milliseconds",
      }),
    })
    .prefault({})
    .meta({ description: "Limits on clients' HTTP/2 connections." }),
  watch: z
    .strictObject({
      historyBytes: positive()
        .default(16 * 2 ** 20)
        .meta({
          description:
            "Memory of each worker for recent events. Watches that start in the recent past and slow clients read them.",
          unit: "bytes",
        }),
      streamBufferBytes: positive()
        .default(4 * 2 ** 20)
        .meta({
          description:
            "Maximum size of unread events of one client stream. Above it, the client gets further events from the history, " +
            "after it has read these.",
          unit: "bytes",
          live: true,
        }),
      progressNotifyMs: milliseconds.default(600_000).meta({
        description:
          "Time without events after which a watch with progress notifications gets one. " +
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
          "Origins whose web pages may read responses, like etcd's `--cors`. `*` allows all, an empty list none.",
        form: "origins, or `*`",
        live: true,
      }),
      hosts: z.array(nonEmpty).default([]).meta({
        description:
          "Host names that clients may use without TLS, like etcd's `--host-whitelist`. `*` or an empty list allows all.",
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
        "The guarantee for the revision in the header of a linearizable response. `linearizable`: it is at least every " +
        "revision that any proxy has acknowledged before the call, as with one etcd. `relaxed`: values are just as fresh, " +
        "but the revision may be lower than one that another proxy has just acknowledged. Reads of one shard then do not " +
        "use the timeline host, and continue while it is down. Lease grants do not use it either, unless the client " +
        "chooses the id. While the host is down, no lease is granted.",
      live: true,
    }),
  transport: z
    .enum(["native", "grpc-js"])
    .default("native")
    .meta({
      description:
        "The gRPC implementation, for clients and for shards. `native` is the proxy's own HTTP/2, which uses a fraction of " +
        "the CPU time. `grpc-js` is the npm library, as a fallback.",
    }),
  log: z
    .strictObject({
      level: z
        .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
        .default("info")
        .meta({ description: "Messages below this level are not logged.", live: true }),
      slowRequestMs: milliseconds.default(500).meta({
        description: "Requests that take longer than this are logged. This does not apply to streams.",
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
          "Another address, with plain HTTP, for `/metrics`, `/health`, `/livez` and `/readyz`, like etcd's " +
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
  console: z
    .strictObject({
      enabled: z.boolean().default(false).meta({ description: "Serves the console." }),
      password: nonEmpty.optional().meta({
        description:
          "Password of the console. It applies while the store has authentication off; otherwise the store's users log in.",
        absent: "none",
      }),
      passwordFile: nonEmpty.optional().meta({
        description: "File with that password. It is read at every login; a final line break is ignored.",
        absent: "none",
      }),
      passwordEnv: nonEmpty.optional().meta({
        description: "Name of an environment variable with that password.",
        absent: "none",
      }),
    })
    .prefault({})
    .meta({
      description:
        "The console: pages about the store for a browser, at `/console/` of `metrics.listen`. They change nothing. Give at most " +
        "one of `password`, `passwordFile` and `passwordEnv`. Without a password, and without authentication in the store, " +
        "everybody who can connect can read all keys. See [The console](guides/console.md).",
      excerpts: [
        {
          metrics: { listen: "127.0.0.1:2381" },
          console: { enabled: true, passwordFile: "/run/secrets/braid-console" },
        },
        {
          metrics: { listen: "127.0.0.1:2381" },
          console: { enabled: true, passwordEnv: "CONSOLE_PASSWORD" },
        },
        { metrics: { listen: "127.0.0.1:2381" }, console: { enabled: true, password: "SECRET" } },
      ],
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
        description: "URL of the collector.",
        form: "http:// or https:// URL",
      }),
      sampleRatio: z.number().min(0).max(1).default(0.01).meta({
        description:
          "Share of requests that are traced, among those without a client's trace. For others, the client decides.",
      }),
      serviceName: nonEmpty.default("etcd-braid").meta({ description: "Service name in the traces." }),
    })
    .optional()
    .meta({
      description:
        "Traces for an OpenTelemetry collector, with OTLP over HTTP. See [Traces](metrics.md#traces).",
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

/** A valid file, with defaults filled in. */
export type Shape = z.output<typeof schema>;
