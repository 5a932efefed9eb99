// node scripts/test-h2spec.js runs every case of h2spec against our HTTP/2 server.
// h2spec is built with Go into .cache/h2spec, from the module proxy that Go is configured for. Its most important cases are also
// tests of ours (test/http2), which need no Go.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { build, capture, checkNode, fail, installPackages, root, run, say } from "./setup.js";

const MODULE = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";
const bin = join(root, ".cache/h2spec");
const binary = join(bin, "h2spec");

checkNode();
installPackages();
if (!existsSync(binary)) {
  if (capture("go", ["version"]) === undefined) fail("Building h2spec needs Go, which is not installed.");
  say("Building h2spec …");
  run("go", ["install", MODULE], { env: { ...process.env, GOBIN: bin } });
}
say("Compiling …");
build();

const { serveHttp2 } = await import(join(root, "dist/src/transport/http2/serve.js"));
const server = await serveHttp2(
  { unary: new Map(), stream: new Map() },
  { listen: ["127.0.0.1:0"], maxReceiveBytes: 1 << 20 },
);
const port = server.addresses[0].split(":")[1];
// Not synchronous, because the server runs in this process.
const child = spawn(binary, ["--host", "127.0.0.1", "--port", port, "--timeout", "5", "--strict"], {
  stdio: "inherit",
});
child.on("exit", async (code) => {
  await server.shutdown(0);
  process.exit(code ?? 1);
});
