import type { Call } from "../../rpc/call.js";
import { DowngradeAction, DowngradeRequest, DowngradeResponse } from "../../wire/messages.js";
import { Maintenance } from "../../wire/paths.js";
import { type Backend, connected, type MaintenanceDeps, optionsFor } from "./context.js";
import { askEach, valuesOf } from "./outcomes.js";
import { lowest } from "./versions.js";

/**
 * Downgrade (since etcd 3.5) of all backends, including the timeline host. It is enabled only after all of them have
 * validated the version. If one fails nevertheless, the error names it. The request can be repeated, or cancelled.
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
  { backends }: MaintenanceDeps,
  call: Call,
  request: Uint8Array,
): Promise<DowngradeResponse[]> {
  const ask = (some: readonly Backend[]) =>
    askEach(
      some,
      ({ name }) => name,
      (backend) =>
        connected(backend, undefined, (any) =>
          any.call(Maintenance.Downgrade, request, optionsFor(call, false, backend)),
        ),
    );
  // A dedicated timeline host is called as the proxy itself, so only after all shards have let the client.
  const all = backends();
  const answers = valuesOf(await ask(all.filter(({ index }) => index >= 0)));
  answers.push(...valuesOf(await ask(all.filter(({ index }) => index < 0))));
  return answers.map((answer) => DowngradeResponse.decode(answer));
}
