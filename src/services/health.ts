import { onRequest } from "../rpc/async.js";
import type { ServerStream, UnaryHandler } from "../rpc/call.js";
import type { Service } from "../rpc/service.js";
import { Code, StatusError } from "../status/error.js";
import * as tags from "../wire/generated/tags.js";
import { Reader } from "../wire/reader.js";
import { strictText } from "../wire/strictText.js";

/** Full methods of gRPC's health checking, which etcd also serves. */
export const Health = {
  Check: "/grpc.health.v1.Health/Check",
  Watch: "/grpc.health.v1.Health/Watch",
} as const;

const { service: SERVICE } = tags.HealthCheckRequest;
const { status: STATUS } = tags.HealthCheckResponse;

/** Encoded `HealthCheckResponse`s with the status SERVING and SERVICE_UNKNOWN. */
const SERVING = Uint8Array.of(STATUS, 1);
const SERVICE_UNKNOWN = Uint8Array.of(STATUS, 3);

/**
 * gRPC's health checking protocol, for load balancers and probes. As in etcd, it reports on the process alone, under the
 * empty service name. A proxy that responds is healthy, even while its shards are down.
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

/** Sends the status once and stays open, because the status does not change while the proxy runs. */
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
    // As in etcd, whose newer protobuf library serves this method: other wire types are unknown fields, strings are UTF-8.
    if (tag === SERVICE) service = strictText(reader.data());
    else reader.skip(tag);
  }
  return service;
}
