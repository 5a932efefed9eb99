/** Full gRPC method paths of etcd 3.5, by service and method: `KV.Range`. */
export * from "./generated/paths.js";
