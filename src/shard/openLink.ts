import type { Transport } from "../config/types.js";
import type { EndpointAddress } from "./address.js";
import { GrpcLink } from "./grpcLink.js";
import { Http2Link } from "./http2Link.js";
import type { Link, LinkEvents } from "./link.js";
import type { ShardTlsContext } from "./tls.js";

/** Creates the link to one endpoint. `tls` is undefined for an endpoint without TLS. */
export function openLink(
  transport: Transport,
  address: EndpointAddress,
  tls: ShardTlsContext | undefined,
  events: LinkEvents,
): Link {
  return transport === "native" ? new Http2Link(address, tls, events) : new GrpcLink(address, tls, events);
}
