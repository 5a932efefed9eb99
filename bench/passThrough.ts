import { connect, createServer } from "node:net";

/*
 * Passes bytes on to an etcd, both ways, and understands nothing: the least that a process between a client and an etcd can cost.
 * Arguments: the port to listen on, and the etcd's port.
 */

const [port, etcd] = process.argv.slice(2).map(Number) as [number, number];

createServer({ noDelay: true }, (client) => {
  const upstream = connect({ port: etcd, host: "127.0.0.1", noDelay: true });
  for (const [from, to] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    from.pipe(to);
    from.on("error", () => to.destroy());
  }
}).listen(port, "127.0.0.1");
