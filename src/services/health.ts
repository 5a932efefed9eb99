import { onRequest } from "../rpc/async.js";
import type { ServerStream, UnaryHandler } from "../rpc/call.js";
import type { Service } from "../rpc/service.js";
import { Code, StatusError } from "../status/error.js";
import * as tags from "../wire/generated/tags.js";
import { Reader } from "../wire/reader.js";
import { strictText } from "../wire/strictText.js";

/** Full method paths; not among etcd's, whose server offers them beside its own. */
export const Health = {
  Check: "/grpc.health.v1.Health/Check",
  Watch: "/grpc.health.v1.Health/Watch",
} as const;

const { service: SERVICE } = tags.HealthCheckRequest;
const { status: STATUS } = tags.HealthCheckResponse;

/** `HealthCheckResponse.status`: SERVING and SERVICE_UNKNOWN of the gRPC health checking protocol. */
const SERVING = Uint8Array.of(STATUS, 1);
const SERVICE_UNKNOWN = Uint8Array.of(STATUS, 3);

/**
 * gRPC's health checking, which load balancers and probes use. As with etcd it is about the process alone, under the
 * empty service name: a proxy that answers is healthy, whatever its shards are.
 */
export function createHealth(): Service {
  const check: UnaryHandler = (_call, request, reply) => {
    try {
      if (serviceOf(request) !== "") throw new StatusError(Code.NOT_FOUND, "unknown service");
    } catch (reason) {
      return reply(StatusError.from(reason));
    }
    reply(undefined, SERVING);
  };
  return { unary: new Map([[Health.Check, check]]), stream: new Map([[Health.Watch, watch]]) };
}

/** Tells the status once and stays open: it changes only when the proxy ends, and all streams with it. */
function watch(stream: ServerStream): void {
  onRequest(stream, (request) => {
    stream.send([serviceOf(request) === "" ? SERVING : SERVICE_UNKNOWN]);
  });
}

function serviceOf(request: Uint8Array): string {
  const reader = new Reader(request);
  let service = "";
  while (reader.more()) {
    const tag = reader.tag();
    // As in etcd, whose newer protobuf library serves this one: other wire types are unknown fields, texts are UTF-8.
    if (tag === SERVICE) service = strictText(reader.data());
    else reader.skip(tag);
  }
  return service;
}
