import type { ProxyCaller } from "../../auth/proxyCaller.js";
import type { Call } from "../../rpc/call.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { AuthUserGetRequest, AuthUserGetResponse, EMPTY } from "../../wire/messages.js";
import { Auth } from "../../wire/paths.js";
import { checkQuorums, incomplete, uncertain } from "./change.js";
import { type AuthContext, changeOptions, queryOptions } from "./context.js";
import { grantGenToRoles } from "./genGrants.js";

const ROOT = "root";

/**
 * Turns authentication on, shard by shard. First checks that every shard has the user root, as etcd does, and the proxies'
 * own user with the role root. Without it the proxies could no longer use the shard. Roles that were made without a proxy get the
 * permission that writes need.
 */
export async function enable(context: AuthContext, call: Call): Promise<Uint8Array> {
  const { access, lock, identity, timeline, genKey } = context;
  if (access === undefined) {
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      "etcd-braid: the proxies would be locked out: they have no user of their own. Add one with the role root, " +
        "give it to all proxies (auth in shards.yaml), restart them, and enable authentication then",
    );
  }
  await lock.run(call, async (deadline) => {
    const shards = context.shards.all();
    await checkQuorums(shards);
    for (const shard of shards) await checkUsers(shard, call, access.own);
    const options = changeOptions(call, deadline);
    if (genKey !== undefined) for (const shard of shards) await grantGenToRoles(shard, genKey, options);
    const done: Shard[] = [];
    for (const shard of shards) {
      try {
        await shard.call(Auth.AuthEnable, EMPTY, options);
        done.push(shard);
        // A call as the proxies' user. Its password cannot be checked before authentication is on.
        await checkQuorums([shard]);
      } catch (reason) {
        if (done.length === 0) throw uncertain(shards, StatusError.from(reason));
        throw incomplete([{ shard, error: StatusError.from(reason) }], done, done);
      }
    }
  });
  return identity.header(timeline.head);
}

async function checkUsers(shard: Shard, call: Call, own: ProxyCaller): Promise<void> {
  const root = await rolesOf(shard, call, ROOT);
  if (root === undefined) throw etcd.rootUserNotExist();
  if (!root.includes(ROOT)) throw etcd.rootRoleNotExist();
  const user = own.userOf(shard.index);
  if (user === undefined || user === ROOT) return;
  const roles = await rolesOf(shard, call, user);
  if (roles?.includes(ROOT)) return;
  throw new StatusError(
    Code.FAILED_PRECONDITION,
    `etcd-braid: the proxies would be locked out: on ${describeShard(shard)} their user "${user}" ` +
      (roles === undefined ? "does not exist" : "does not have the role root"),
  );
}

async function rolesOf(shard: Shard, call: Call, user: string): Promise<readonly string[] | undefined> {
  try {
    const request = AuthUserGetRequest.encode({ name: user });
    return AuthUserGetResponse.decode(await shard.call(Auth.UserGet, request, queryOptions(call))).roles;
  } catch (reason) {
    if (etcd.userNotFound.is(reason)) return undefined;
    throw reason;
  }
}
