import { readFileSync } from "node:fs";
import type { Find, Path } from "./problems.js";
import type { Shape } from "./schema.js";
import type { AuthConfig, ConsoleConfig, CredentialsConfig, SecretConfig } from "./types.js";

/** The three fields for a secret, of which one is given: `password`, `passwordFile`, `passwordEnv`. */
type Fields<Name extends string> = {
  readonly [K in Name | `${Name}File` | `${Name}Env`]?: string | undefined;
};

/** The secret in the fields that begin with `name`; undefined if none is given. */
function resolveSecret<Name extends string>(
  fields: Fields<Name>,
  name: Name,
  path: Path,
  find: Find,
): SecretConfig | undefined {
  const all: Readonly<Record<string, string | undefined>> = fields;
  const given = [name, `${name}File`, `${name}Env`].filter((field) => all[field] !== undefined);
  const second = given[1];
  if (second !== undefined) find([...path, second], `give ${given.join(" or ")}, not both`);
  const value = all[name];
  const file = all[`${name}File`];
  const env = all[`${name}Env`];
  if (value !== undefined) return { kind: "value", value };
  if (file !== undefined) return { kind: "file", path: file };
  return env === undefined ? undefined : { kind: "env", name: env };
}

/** The credentials of one cluster. Spread it into the cluster's configuration. */
export function resolveOwnAuth(
  shape: Shape["shards"][number]["auth"],
  path: Path,
  find: Find,
): { auth?: CredentialsConfig } {
  const auth = shape && resolveCredentials(shape, path, find);
  return auth === undefined ? {} : { auth };
}

function resolveCredentials(
  shape: NonNullable<Shape["shards"][number]["auth"]>,
  path: Path,
  find: Find,
): CredentialsConfig | undefined {
  const password = resolveSecret(shape, "password", path, find);
  if (password !== undefined) return { user: shape.user, password };
  find([...path, "user"], "has no password: give password, passwordFile or passwordEnv");
  return undefined;
}

export function resolveAuth(shape: Shape["auth"], find: Find): AuthConfig {
  const { user, tokenTtlSeconds } = shape;
  const tokenKey = resolveSecret(shape, "tokenKey", ["auth"], find);
  if (user !== undefined) {
    return { own: resolveCredentials({ ...shape, user }, ["auth"], find), tokenKey, tokenTtlSeconds };
  }
  if (resolveSecret(shape, "password", ["auth"], find) !== undefined) find(["auth", "user"], "is missing");
  return { own: undefined, tokenKey, tokenTtlSeconds };
}

export function resolveConsole(shape: Shape["console"], find: Find): ConsoleConfig {
  return { enabled: shape.enabled, password: resolveSecret(shape, "password", ["console"], find) };
}

/** Reads a secret. Throws an `Error` that never contains the secret. */
export function readSecret(secret: SecretConfig): string {
  const text = secretText(secret);
  if (text !== "") return text;
  throw new Error(secret.kind === "file" ? `the file ${secret.path} is empty` : "a secret is empty");
}

function secretText(secret: SecretConfig): string {
  switch (secret.kind) {
    case "value":
      return secret.value;
    case "env": {
      const text = process.env[secret.name];
      if (text === undefined) throw new Error(`the environment variable ${secret.name} is not set`);
      return text;
    }
    case "file":
      return readFileSync(secret.path, "utf8").replace(/\r?\n$/, "");
  }
}
