import { join } from "node:path";
import protobuf from "protobufjs";
import { packageRoot } from "../../src/ops/package.js";

/** Files of `proto/` and what they import, as protobufjs reads them. Field names stay as they are written. */
export function loadProto(...names: string[]): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => join(packageRoot, "proto", target.split("/").pop()!);
  root.loadSync(names, { keepCase: true }).resolveAll();
  return root;
}
