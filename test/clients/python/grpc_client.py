"""What a Python program does with the package etcd3 (gRPC), through two proxies."""

import queue

import etcd3
import grpc
from etcd3 import etcdrpc
from etcd3.watch import Watcher

from scenarios import ENDPOINTS, GUARDED, PATIENCE, ROOT_NAME, ROOT_PASSWORD, equal, run, spread


def connect(endpoint, user=None, password=None):
    host, port = endpoint.split(":")
    client = etcd3.client(host=host, port=int(port), timeout=PATIENCE, user=user, password=password)
    if user:
        # etcd3 sends the token as metadata, too; its call credentials are refused by grpcio without TLS.
        client.call_credentials = None
        client.watcher = Watcher(etcdrpc.WatchStub(client.channel), timeout=PATIENCE, metadata=client.metadata)
    return client


ONE, TWO = connect(ENDPOINTS[0]), connect(ENDPOINTS[-1])


def puts():
    keys = spread("python")
    for i, key in enumerate(keys):
        ONE.put(key, str(9 - i))
        value, meta = TWO.get(key)
        equal((value, meta.key, meta.version), (str(9 - i).encode(), key.encode(), 1))
    equal([meta.key.decode() for _, meta in TWO.get_prefix("/registry/python")], keys)
    by_value = TWO.get_prefix("/registry/python", sort_order="ascend", sort_target="value")
    equal([meta.key.decode() for _, meta in by_value], keys[::-1])
    listed = list(ONE.get_range("/registry/python2", "/registry/python5"))
    equal([meta.key.decode() for _, meta in listed], keys[2:5])
    equal(TWO.get("/registry/nowhere"), (None, None))
    equal(ONE.delete_prefix("/registry/python").deleted, 9)
    equal(len(list(TWO.get_prefix("/registry/python"))), 0)


def txn():
    ONE.delete("python/account")
    equal((ONE.put_if_not_exists("python/account", "10"), TWO.put_if_not_exists("python/account", "11")), (True, False))
    equal((ONE.replace("python/account", "10", "12"), TWO.replace("python/account", "10", "13")), (True, False))
    succeeded, [found] = TWO.transaction(
        compare=[TWO.transactions.version("python/account") == 1],
        success=[TWO.transactions.put("python/account", "x")],
        failure=[TWO.transactions.get("python/account")],
    )
    equal((succeeded, found[0][0], found[0][1].version), (False, b"12", 2))


def watch():
    keys = spread("python-watch")
    ONE.put(keys[0], "before")
    start = TWO.get(keys[0])[1].mod_revision + 1
    events, cancel = TWO.watch_prefix("/registry/python-watch", start_revision=start, prev_kv=True)
    for key in keys:
        ONE.put(key, f"{key}!")
    ONE.delete(keys[3])
    seen = [next(events) for _ in range(len(keys) + 1)]
    cancel()
    equal([(type(event).__name__, event.key.decode()) for event in seen], [("PutEvent", key) for key in keys] + [("DeleteEvent", keys[3])])
    equal((seen[0].prev_value, seen[-1].prev_value), (b"before", f"{keys[3]}!".encode()))
    revisions = [event.mod_revision for event in seen]
    equal(revisions, sorted(set(revisions)))


def lease():
    lease = ONE.lease(60)
    keys = spread("python-lease")
    for key in keys:
        TWO.put(key, "v", lease=lease)
    [answer] = TWO.refresh_lease(lease.id)
    equal(answer.TTL, 60)
    equal((lease.granted_ttl, sorted(key.decode() for key in lease.keys)), (60, keys))
    TWO.revoke_lease(lease.id)
    equal(len(list(ONE.get_prefix("/registry/python-lease"))), 0)
    short = ONE.lease(1)
    gone = queue.Queue()
    watching = TWO.add_watch_prefix_callback("/registry/python-lease", lambda answer: [gone.put(each) for each in answer.events if isinstance(each, etcd3.events.DeleteEvent)])
    for key in keys:
        TWO.put(key, "v", lease=short)
    equal(sorted(gone.get(timeout=PATIENCE).key.decode() for _ in keys), keys)
    TWO.cancel_watch(watching)


def lock():
    """The package's own waiting for a lock fails with every tenacity that Python 3.11 can import: here a watch waits."""
    held, wanted = ONE.lock("python", ttl=60), TWO.lock("python", ttl=60)
    equal((held.acquire(), held.is_acquired(), wanted.is_acquired()), (True, True, False))
    _, meta = TWO.get(held.key)
    events, cancel = TWO.watch(held.key, start_revision=meta.mod_revision + 1)
    equal(held.release(), True)
    equal(type(next(events)).__name__, "DeleteEvent")
    cancel()
    equal((wanted.acquire(), wanted.is_acquired(), held.is_acquired()), (True, True, False))
    wanted.release()


def election():
    """The package has none: a key made with a lease, and a watch on it for those who wait."""
    key = "python/leader"
    first, second = ONE.lease(60), TWO.lease(60)
    assert ONE.put_if_not_exists(key, "alpha", lease=first)
    assert not TWO.put_if_not_exists(key, "beta", lease=second)
    events, cancel = TWO.watch(key, start_revision=TWO.get(key)[1].mod_revision + 1)
    first.revoke()  # the leader ends
    equal(type(next(events)).__name__, "DeleteEvent")
    assert TWO.put_if_not_exists(key, "beta", lease=second)
    cancel()
    equal(ONE.get(key)[0], b"beta")
    second.revoke()


def auth():
    root = connect(GUARDED[0], ROOT_NAME, ROOT_PASSWORD)
    stub = etcdrpc.AuthStub(root.channel)

    def administer(method, request):
        return getattr(stub, method)(request, timeout=PATIENCE, metadata=root.metadata)

    administer("UserAdd", etcdrpc.AuthUserAddRequest(name="snake", password="secret"))
    administer("RoleAdd", etcdrpc.AuthRoleAddRequest(name="snakes"))
    grant = etcdrpc.AuthRoleGrantPermissionRequest(name="snakes")
    grant.perm.permType, grant.perm.key, grant.perm.range_end = 2, b"/registry/snake", b"/registry/snakf"
    administer("RoleGrantPermission", grant)
    administer("UserGrantRole", etcdrpc.AuthUserGrantRoleRequest(user="snake", role="snakes"))
    user = connect(GUARDED[-1], "snake", "secret")
    keys = spread("snake")
    events, cancel = user.watch_prefix("/registry/snake")
    for key in keys:
        user.put(key, "v")
    equal([next(events).key.decode() for _ in keys], keys)
    cancel()
    equal(len(list(user.get_prefix("/registry/snake"))), 9)
    for client, code, text in [
        (user, grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"),
        (connect(GUARDED[0]), grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty"),
    ]:
        try:
            client.put("/other", "v")
        except grpc.RpcError as error:
            equal((error.code(), error.details()), (code, text))
        else:
            raise AssertionError("not refused")
    administer("UserDelete", etcdrpc.AuthUserDeleteRequest(name="snake"))
    administer("RoleDelete", etcdrpc.AuthRoleDeleteRequest(role="snakes"))


run({"put": puts, "txn": txn, "watch": watch, "lease": lease, "lock": lock, "election": election, "auth": auth})
