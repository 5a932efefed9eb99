import { z } from "zod";
import { MAX_SHARDS } from "../routing/create.js";
import { formatEndpoint, parseEndpoint } from "./address.js";
import { address, labelName, nonEmpty, positive } from "./fields.js";
import { shardTlsSchema } from "./tls.js";

const endpoints = z.array(address((text) => formatEndpoint(parseEndpoint(text)))).min(1);
const ENDPOINT = "host:port, http://host:port or https://host:port";

/** The proxy's user on an etcd. `resolve` checks that there is exactly one password. */
const credentials = z.strictObject({
  user: nonEmpty.meta({
    description:
      "Name of the proxy's user. It needs the role `root`, because the proxy keeps the timeline with it.",
  }),
  password: nonEmpty.optional().meta({
    description: "Password of the user.",
    absent: "none",
  }),
  passwordFile: nonEmpty.optional().meta({
    description: "File with the password. It is read at every login; a final line break is ignored.",
    absent: "none",
  }),
  passwordEnv: nonEmpty.optional().meta({
    description: "Name of an environment variable with the password.",
    absent: "none",
  }),
});

const shard = z.strictObject({
  name: labelName.meta({
    description: "Name of the shard. The hash that places keys uses it, so it must never change.",
    form: "1 to 63 of A-Z a-z 0-9 . _ -, the first a letter or digit",
  }),
  endpoints: endpoints.meta({
    description:
      "Client addresses of all members of the cluster. The proxy uses TLS for those with `https://`.",
    form: ENDPOINT,
  }),
  // A wider range makes no sense, and a range of few keys could then cost many hashes (see `Cover`).
  weight: z.number().min(0.01).max(100).default(1).meta({
    description:
      "Share of the keys, relative to the other shards. It must not change once the store has data.",
  }),
  tls: shardTlsSchema.optional().meta({
    description: "Fields that replace those of `shardTls` for this shard.",
    absent: "as in `shardTls`",
    fieldsOf: "shardTls",
  }),
  auth: credentials.optional().meta({
    description: "The proxy's user on this shard.",
    absent: "as in `auth`",
    fieldsOf: "auth",
  }),
});

export const shardsSchema = z
  .array(shard)
  .min(1)
  .max(MAX_SHARDS)
  .meta({
    description:
      "The etcd clusters that hold the keys. All proxies of a store need the same shards. In a store that was made by version 0.2, they " +
      "also need the same order until the first plan. " +
      "`braid apply` changes them.",
    excerpts: [
      {
        shards: [
          { name: "east", endpoints: ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"] },
          {
            name: "west",
            endpoints: ["https://etcd-1.west.example:2379", "https://etcd-2.west.example:2379"],
            weight: 2,
            tls: { caFile: "/etc/braid/west-ca.crt" },
            auth: { user: "braid", passwordFile: "/run/secrets/braid-west" },
          },
        ],
      },
    ],
  });

export const timelineSchema = z
  .strictObject({
    host: z.string().optional().meta({
      description: "Name of the shard that keeps the timeline.",
      absent: "the first shard",
    }),
    endpoints: endpoints.optional().meta({
      description:
        "Client addresses of all members of a timeline host that is not a shard. Use such a cluster in production.",
      form: ENDPOINT,
      absent: "the timeline is on a shard",
    }),
    tls: shardTlsSchema.optional().meta({
      description: "Fields that replace those of `shardTls` for a timeline host that is not a shard.",
      absent: "as in `shardTls`",
      fieldsOf: "shardTls",
    }),
    auth: credentials.optional().meta({
      description: "The proxy's user on a timeline host that is not a shard.",
      absent: "as in `auth`",
      fieldsOf: "auth",
    }),
  })
  .refine(
    ({ host, endpoints }) => host === undefined || endpoints === undefined,
    "give host or endpoints, not both",
  )
  .prefault({})
  .meta({
    description:
      "The etcd cluster that keeps the timeline, which gives the whole store one revision: a shard (`host`) or another " +
      "cluster (`endpoints`). `braid apply` moves the timeline of an existing store; a proxy may " +
      "start with its former host. See [The timeline host](operations.md#the-timeline-host).",
    excerpts: [
      { timeline: { host: "east" } },
      {
        timeline: {
          endpoints: ["https://10.0.9.1:2379", "https://10.0.9.2:2379", "https://10.0.9.3:2379"],
          tls: { caFile: "/etc/braid/timeline-ca.crt" },
          auth: { user: "braid", passwordFile: "/run/secrets/braid-timeline" },
        },
      },
    ],
  });

/** The fields of a rule other than its prefix. */
const grouping = {
  delimiter: z
    .string()
    .refine((text) => Buffer.byteLength(text) === 1, "must be one byte")
    .transform((text) => Buffer.from(text).readUInt8())
    .prefault("/")
    .meta({ description: "The byte that separates the segments of a key.", form: "one byte" }),
  segments: z.int().min(0).max(1000).default(1).meta({
    description:
      "Number of segments after the prefix that belong to the group. With 0, all keys under the prefix are one group.",
  }),
  shard: z.string().optional().meta({
    description: "Name of the shard that holds all these keys.",
    absent: "the hash of the group decides",
  }),
};

const rule = z.strictObject({
  prefix: z.string().optional().meta({
    description: "The rule applies to keys that begin with this text. A rule has `prefix` or `prefixBase64`.",
    form: "text of 1 to 1024 bytes",
    absent: "none",
  }),
  prefixBase64: z
    .string()
    .refine((text) => Buffer.from(text, "base64").toString("base64") === text, "must be base64 with padding")
    .optional()
    .meta({
      description: "The prefix in base64, if it is not text.",
      form: "base64 with padding",
      absent: "none",
    }),
  ...grouping,
});

export const routingSchema = z
  .strictObject({
    default: z.strictObject(grouping).optional().meta({
      description: "The rule for keys that no rule in `rules` matches. It replaces all built-in rules.",
      absent: "the group is one segment, and one more below `/apisix/` and `/registry/`",
      fieldsOf: "routing.rules",
    }),
    rules: z.array(rule).max(10_000).prefault([]).meta({
      description:
        "Rules for keys by prefix. The rule with the longest prefix that a key begins with applies.",
    }),
  })
  .prefault({})
  .meta({
    description:
      "The rules that decide which keys stay together: all keys of one group live on one shard. They must not change " +
      "once the store has data. See [Choosing routing rules](routing.md).",
    excerpts: [
      {
        routing: {
          default: { delimiter: "/", segments: 2 },
          rules: [
            { prefix: "/tenants/", segments: 2 },
            { prefix: "user:", delimiter: ":" },
            { prefix: "/locks/", shard: "east" },
            { prefixBase64: "/wE=", segments: 0 },
          ],
        },
      },
    ],
  });

export const authSchema = credentials
  .partial({ user: true })
  .extend({
    user: credentials.shape.user.optional().meta({
      ...credentials.shape.user.meta(),
      absent: "no user: the shards have authentication off",
    }),
    tokenKey: z
      .string()
      .refine((text) => text.length >= 16, "must be at least 16 characters")
      .optional()
      .meta({
        description: "The secret that encrypts clients' tokens. It must be the same for all proxies.",
        form: "at least 16 characters",
        absent: "a random key that the proxies keep on the timeline host",
      }),
    tokenKeyFile: nonEmpty.optional().meta({
      description: "File with that secret.",
      absent: "none",
    }),
    tokenKeyEnv: nonEmpty.optional().meta({
      description: "Name of an environment variable with that secret.",
      absent: "none",
    }),
    tokenTtlSeconds: positive(10 * 365 * 86_400)
      .default(86_400)
      .meta({
        description: "How long a client's token is valid after it was issued or last used.",
        unit: "seconds",
      }),
  })
  .prefault({})
  .meta({
    description:
      "The proxy's user on the shards and the timeline host, and the tokens of clients. Needed if authentication is on. " +
      "Give one of `password`, `passwordFile` and `passwordEnv`, and at most one of `tokenKey`, `tokenKeyFile` and " +
      "`tokenKeyEnv`. See [Authentication](security.md#authentication).",
    excerpts: [
      {
        auth: {
          user: "braid",
          passwordFile: "/run/secrets/braid",
          tokenKeyFile: "/run/secrets/braid-tokens",
          tokenTtlSeconds: 86400,
        },
      },
      { auth: { user: "braid", passwordEnv: "BRAID_PASSWORD", tokenKeyEnv: "BRAID_TOKEN_KEY" } },
      { auth: { user: "braid", password: "SECRET", tokenKey: "AT-LEAST-16-CHARACTERS" } },
    ],
  });
