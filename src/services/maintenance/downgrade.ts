import type { Call } from "../../rpc/call.js";
import { DowngradeAction, DowngradeRequest, DowngradeResponse } from "../../wire/messages.js";
import { Maintenance } from "../../wire/paths.js";
import { type Backend, connected, type MaintenanceDeps, optionsFor } from "./context.js";
import { answersOf, everywhere } from "./everywhere.js";
import { lowest } from "./versions.js";

/**
 * Downgrade (etcd 3.5) of all backends, the timeline host included. Nothing is enabled before all of them have found the
 * version valid. When one fails all the same the error names it; the request can be made again, or cancelled.
 */
export async function downgrade(deps: MaintenanceDeps, call: Call, bytes: Uint8Array): Promise<Uint8Array> {
  const { action, version: target } = DowngradeRequest.decode(bytes);
  if (action === DowngradeAction.ENABLE) {
    const validate = DowngradeRequest.encode({ action: DowngradeAction.VALIDATE, version: target });
    await askAll(deps, call, validate);
  }
  const version = (await askAll(deps, call, bytes)).map((answer) => answer.version).reduce(lowest);
  return Buffer.concat([deps.identity.header(deps.timeline.head), DowngradeResponse.encode({ version })]);
}

async function askAll(
  { backends, shards }: MaintenanceDeps,
  call: Call,
  request: Uint8Array,
): Promise<DowngradeResponse[]> {
  const ask = (some: readonly Backend[]) =>
    everywhere(
      some,
      ({ name }) => name,
      (backend) =>
        connected(backend, undefined, (any) =>
          any.call(Maintenance.Downgrade, request, optionsFor(call, false, backend)),
        ),
    );
  // The proxy itself asks a timeline host of its own, which has other users: only once all shards have let the client.
  const answers = answersOf(await ask(backends.slice(0, shards.length)));
  answers.push(...answersOf(await ask(backends.slice(shards.length))));
  return answers.map((answer) => DowngradeResponse.decode(answer));
}
