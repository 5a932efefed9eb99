import type { EtcdProcess } from "../support/etcd.js";

/** Number of requests of these methods that the etcds answered while `body` ran. */
export function answeredAt(
  etcds: readonly EtcdProcess[],
  methods: readonly string[],
  body: () => Promise<unknown>,
): Promise<number> {
  const method = `grpc_method="(?:${methods.join("|")})"`;
  return counted(etcds, `grpc_server_handled_total\\{.*${method}.*\\}`, body);
}

/** Number of ranges that the etcds read while `body` ran, including those of transactions. */
export function rangesReadAt(etcds: readonly EtcdProcess[], body: () => Promise<unknown>): Promise<number> {
  return counted(etcds, "etcd_mvcc_range_total", body);
}

async function counted(
  etcds: readonly EtcdProcess[],
  counter: string,
  body: () => Promise<unknown>,
): Promise<number> {
  const count = async () => {
    let sum = 0;
    for (const { url } of etcds) {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      for (const [, n] of metrics.matchAll(new RegExp(`^${counter} (\\S+)$`, "gm"))) sum += Number(n);
    }
    return sum;
  };
  const start = await count();
  await body();
  return (await count()) - start;
}
