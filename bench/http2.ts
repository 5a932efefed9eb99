import { fork } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { Client, credentials } from "@grpc/grpc-js";
import { ClientConnection } from "../src/http2/client.js";
import { serveGrpc } from "../src/transport/grpc/serve.js";
import { serveHttp2 } from "../src/transport/http2/serve.js";
import { callNodeHttp2, serveNodeHttp2 } from "./nodeHttp2.js";

/*
 * CPU time per unary call of the two transports, and of Node's bare HTTP/2, each side measured in a separate process:
 * `node --import tsx bench/http2.ts [calls] [side]`. The other side is always our HTTP/2, so that it does not slow down the
 * measured side. Medians of interleaved rounds.
 */

const PATH = "/bench.Bench/Call";
const REQUEST = Buffer.alloc(300, 1);
const RESPONSE = Buffer.alloc(300, 2);
const ROUNDS = 3;
const calls = Number(process.argv[2] ?? 40_000);

const KINDS = ["native", "grpc-js", "node:http2"] as const;
type Kind = (typeof KINDS)[number];

interface Load {
  readonly kind: Kind;
  readonly connections: number;
  readonly inFlight: number;
  readonly calls: number;
  readonly address: string;
}

const spent = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

async function server(kind: Kind): Promise<void> {
  process.on("message", () => process.send!(spent()));
  if (kind === "node:http2") {
    process.send!(await serveNodeHttp2(RESPONSE));
    return;
  }
  const handlers = { unary: new Map([[PATH, answer]]), stream: new Map() };
  const serve = kind === "native" ? serveHttp2 : serveGrpc;
  const { addresses } = await serve(handlers, { listen: ["127.0.0.1:0"], maxReceiveBytes: 2_000_000 });
  process.send!(addresses[0]);
}

function answer(
  _call: unknown,
  _request: Uint8Array,
  reply: (error: undefined, response: Uint8Array) => void,
): void {
  reply(undefined, RESPONSE);
}

type Begin = (done: () => void) => void;

function nativeCaller(address: string): Promise<Begin> {
  const [host, port] = address.split(":");
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) }, () => {
      const limits = {
        maxStreams: 0,
        streamWindow: 4 << 20,
        connectionWindow: 64 << 20,
        maxHeaderBytes: 65_536,
        maxBufferedBytes: Number.POSITIVE_INFINITY,
        maxBufferedTotal: Number.POSITIVE_INFINITY,
        freeMessageBytes: 0,
        messageRoom: 1 << 20,
        maxQueuedTotal: Number.POSITIVE_INFINITY,
        maxQueuedBytes: Number.POSITIVE_INFINITY,
        pingIntervalMs: 60_000,
        pingTimeoutMs: 60_000,
        pingOnlyWithStreams: true,
      };
      const begin: Begin = (done) => {
        const call = connection.begin(PATH, undefined, { message: () => {}, ended: done });
        call.sendAndEnd(REQUEST);
      };
      const connection = new ClientConnection(socket, limits, address, "bench", {
        ready: () => resolve(begin),
        heard: () => {},
        draining: () => {},
        closed: () => {},
      });
    });
  });
}

async function grpcCaller(address: string): Promise<Begin> {
  const client = new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  const identity = (bytes: Buffer) => bytes;
  return (done) => {
    client.makeUnaryRequest(PATH, identity, identity, REQUEST, done);
  };
}

function openCaller(kind: Kind, address: string): Promise<Begin> {
  if (kind === "native") return nativeCaller(address);
  return kind === "grpc-js" ? grpcCaller(address) : callNodeHttp2(address, PATH, REQUEST);
}

async function load({ kind, connections, inFlight, calls, address }: Load): Promise<number> {
  const callers = await Promise.all(Array.from({ length: connections }, () => openCaller(kind, address)));
  const run = (count: number) =>
    new Promise<void>((resolve) => {
      let begun = 0;
      let ended = 0;
      const next = (caller: Begin) => {
        if (begun === count) return;
        begun++;
        caller(() => {
          if (++ended === count) resolve();
          else next(caller);
        });
      };
      for (const caller of callers) for (let i = 0; i < inFlight; i++) next(caller);
    });
  await run(Math.ceil(calls / 4));
  process.send!("warm");
  await once(process, "message");
  const before = spent();
  await run(calls);
  return spent() - before;
}

async function measure(
  side: "server" | "client",
  kind: Kind,
  connections: number,
  inFlight: number,
): Promise<number> {
  const serverKind = side === "server" ? kind : "native";
  const clientKind = side === "client" ? kind : "native";
  const count = inFlight === 1 && connections === 1 ? Math.ceil(calls / 5) : calls;
  const back = fork(import.meta.filename, ["server", serverKind], { execArgv: process.execArgv });
  const [address] = await once(back, "message");
  const front = fork(import.meta.filename, ["client"], { execArgv: process.execArgv });
  const task: Load = { kind: clientKind, connections, inFlight, calls: count, address };
  front.send(task);
  await once(front, "message");
  const ask = async () => {
    back.send("?");
    const [total] = await once(back, "message");
    return Number(total);
  };
  const before = await ask();
  front.send("go");
  const [clientSpent] = await once(front, "message");
  const serverSpent = (await ask()) - before;
  back.kill();
  front.kill();
  return (side === "server" ? serverSpent : Number(clientSpent)) / count;
}

const role = process.argv[2];
if (role === "server") {
  await server(process.argv[3] as Kind);
} else if (role === "client") {
  const [task] = (await once(process, "message")) as [Load];
  process.send!(await load(task));
} else {
  const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];
  console.log("microseconds of CPU time per unary call with 300 bytes each way");
  for (const side of ["server", "client"] as const) {
    if (process.argv[3] !== undefined && process.argv[3] !== side) continue;
    for (const [connections, inFlight] of [
      [1, 1],
      [1, 64],
      [16, 16],
    ]) {
      const results: Record<Kind, number[]> = { native: [], "grpc-js": [], "node:http2": [] };
      for (let round = 0; round < ROUNDS; round++) {
        for (const kind of KINDS) {
          results[kind].push(await measure(side, kind, connections, inFlight));
        }
      }
      const figures = KINDS.map((kind) => `${kind} ${median(results[kind]).toFixed(1)}`.padEnd(18));
      console.log(`${side} ${connections}x${inFlight}`.padEnd(14), ...figures);
    }
  }
}
