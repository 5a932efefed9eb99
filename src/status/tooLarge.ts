import type { StatusError } from "./error.js";
import { etcd } from "./etcd.js";

/** The text of a gRPC server that refuses a message before etcd sees it. */
const MESSAGE_TOO_LARGE = /received message larger than max/;

/** True if a cluster has refused a request because of its bytes. Then nothing has happened. */
export const isTooLarge = (error: StatusError): boolean =>
  etcd.requestTooLarge.is(error) || MESSAGE_TOO_LARGE.test(error.message);
