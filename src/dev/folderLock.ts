import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";

/** Another process holds the lock of the folder. */
export class FolderInUse extends Error {
  constructor(
    readonly dir: string,
    readonly pid: number,
  ) {
    super(`${dir} is in use by another braid dev (process ${pid})`);
  }
}

interface Holder {
  pid: number;
  port: number;
  token: string;
}

/** How long a holder may take to prove that it is alive. */
const PROOF_TIMEOUT_MS = 2_000;

/**
 * Locks a folder for this process. The returned function releases it.
 *
 * The holder proves that it is alive by sending the file's token on a loopback port. A process id would prove nothing: after
 * a crash, and often in containers, another process may have the same id.
 * @throws {FolderInUse} if another process holds the lock.
 */
export async function lockFolder(dir: string): Promise<() => void> {
  mkdirSync(dir, { recursive: true });
  const file = join(dir, "lock");
  const token = randomUUID();
  const server = createServer((socket) => socket.on("error", () => {}).end(token));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  server.unref();
  const { port } = server.address() as { port: number };
  const mine = JSON.stringify({ pid: process.pid, port, token } satisfies Holder);
  for (;;) {
    try {
      writeFileSync(file, mine, { flag: "wx" });
      return () => {
        rmSync(file, { force: true });
        server.close();
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = readHolder(file);
    if (holder && (await isAlive(holder))) {
      server.close();
      throw new FolderInUse(dir, holder.pid);
    }
    rmSync(file, { force: true }); // left behind by a process that was killed
  }
}

function readHolder(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Holder;
  } catch {
    return undefined; // released in the meantime, or truncated by a crash
  }
}

function isAlive(holder: Holder): Promise<boolean> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(holder.port, "127.0.0.1");
    socket.setEncoding("utf8").setTimeout(PROOF_TIMEOUT_MS, () => socket.destroy());
    socket.on("data", (text) => {
      answer += text;
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer === holder.token));
  });
}
