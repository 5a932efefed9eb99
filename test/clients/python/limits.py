"""Limits of tenants over JSON, against a store with one proxy, where rates are too low to add anything while this runs."""

import contextlib
import os
import queue
import re
import time

from json_client import Refused, after, b64, post, put, read, refusal, revision, stream, text
from scenarios import PATIENCE, equal, in_background

ENDPOINT, TENANTS = os.environ.get("LIMITED"), os.environ.get("TENANTS")

BEFORE, AT_ONCE, AFTER, ALLOWED = 6, 25, 5, 10
"""How many calls of each kind are made, and how many of them the tenant may make."""

HELD = 0.99
"""How long a watch is held at least before it is refused, seconds: a client that tries again at once is not in a hot loop."""


def below(kind, key=""):
    return f"/{TENANTS}-{kind}/{key}"


def is_above(refused, tenant, limit):
    status, code, message = refused
    equal((status, code), (429, 8), message)
    assert message.startswith(f'etcd-braid: tenant "{tenant}" is above its limit of ') and f"({limit})" in message, message


def attempt(path, body):
    """How a call is refused, or None."""
    try:
        post(ENDPOINT, path, body)
    except Refused as refused:
        return refused.status, refused.body["code"], refused.body["message"]
    return None


def exhaust(kind, limit, path, body):
    """Makes the calls: some one by one, many at once, and more one by one, which are all refused."""
    tenant = f"{TENANTS}-{kind}"
    for number in range(BEFORE):
        post(ENDPOINT, path, body(number))

    results = [in_background(lambda n=n: attempt(path, body(BEFORE + n))) for n in range(AT_ONCE)]
    refused = [each for each in (result() for result in results) if each]
    equal(len(refused), BEFORE + AT_ONCE - ALLOWED, f"{kind}: refused of {AT_ONCE} at once")
    refused += [refusal(ENDPOINT, path, body(BEFORE + AT_ONCE + number)) for number in range(AFTER)]
    for each in refused:
        is_above(each, tenant, limit)


def is_free():
    """Keys of no tenant."""
    put(below("free", "key"), "v", ENDPOINT)
    equal(read(below("free", "key"), ENDPOINT)["count"], "1")


def rates():
    exhaust("puts", "putsPerSecond", "/v3/kv/put", lambda n: {"key": b64(below("puts", n)), "value": b64("v")})
    stored = read(below("puts"), ENDPOINT, prefix=True)["kvs"]
    equal([kv["version"] for kv in stored], ["1"] * ALLOWED, "what was refused is not carried out")
    exhaust("ranges", "rangesPerSecond", "/v3/kv/range", lambda _: {"key": b64(below("ranges")), "range_end": b64(after(below("ranges")))})
    put(below("ranges", "key"), "it has no limit on puts", ENDPOINT)

    def txn(number):
        key = b64(below("transactions", number))
        return {"compare": [{"target": "CREATE", "create_revision": "0", "key": key}], "success": [{"request_put": {"key": key}}]}

    exhaust("transactions", "transactionsPerSecond", "/v3/kv/txn", txn)
    equal(read(below("transactions"), ENDPOINT, prefix=True)["count"], str(ALLOWED), "what was refused is not carried out")
    is_free()


@contextlib.contextmanager
def watch(prefix, start=None):
    """A watch's lines, its first frame, and how long that took."""
    request = {"key": b64(prefix), "range_end": b64(after(prefix)), **({"start_revision": start} if start else {})}
    began = time.monotonic()
    with stream(ENDPOINT, "/v3/watch", {"create_request": request}) as lines:
        first = next(lines)["result"]
        yield lines, first, time.monotonic() - began


def is_refused(first, took, tenant):
    """As etcd refuses a watch: one frame says that it is created and canceled."""
    equal((first["created"], first["canceled"], first["watch_id"]), (True, True, "-1"))
    begins = f'rpc error: code = ResourceExhausted desc = etcd-braid: tenant "{tenant}" is above its limit of '
    assert first["cancel_reason"].startswith(begins), first
    assert took >= HELD, f"refused after {took} s"


def watches():
    tenant = f"{TENANTS}-watches"
    with contextlib.ExitStack() as opened:
        prefixes = [below("watches", f"{n:02d}") for n in range(12)]
        openings = [in_background(lambda p=p: opened.enter_context(watch(p))) for p in prefixes]
        results = dict(zip(prefixes, [opening() for opening in openings]))
        refused = [(first, took) for _, first, took in results.values() if first.get("canceled")]
        equal(len(refused), 9)
        refused += [opened.enter_context(watch(below("watches", "later")))[1:] for _ in range(2)]
        for first, took in refused:
            is_refused(first, took, tenant)
        for prefix, (lines, first, _) in results.items():
            if first.get("canceled"):
                continue
            number = revision(put(prefix, "v", ENDPOINT))
            [event] = next(lines)["result"]["events"]
            equal((text(event["kv"]["key"]), event["kv"]["mod_revision"]), (prefix, str(number)))
        _, first, _ = opened.enter_context(watch(below("free")))
        assert first["created"] and "canceled" not in first


def use_up(path, body):
    """Makes calls until one is refused."""
    while True:
        if refused := attempt(path, body):
            return refused


def told(refused):
    """How long to wait, as the error says, seconds."""
    return int(re.search(r"; try again in (\d+) ms$", refused[2])[1]) / 1000


def data_plane():
    """A worker of APISIX: lists its routes, watches them, and goes on where it was when it has lost its connection."""
    directory = ("/v3/kv/range", {"key": b64("/apisix/routes/"), "range_end": b64("/apisix/routes0")})
    for number in range(3):
        put(f"/apisix/routes/{number}", "old", ENDPOINT)
    start = revision(post(ENDPOINT, *directory)) + 1
    with watch("/apisix/", start) as (lines, first, _):
        assert first["created"] and "canceled" not in first
        refused = use_up(*directory)
        is_above(refused, "apisix", "rangesPerSecond")
        # Its watch goes on, whatever others of the tenant do.
        changed = revision(put("/apisix/routes/1", "new", ENDPOINT))
        frame = next(lines)["result"]
        equal([event["kv"]["mod_revision"] for event in frame["events"]], [str(changed)])
        start = revision(frame) + 1
    time.sleep(told(refused))
    equal(post(ENDPOINT, *directory)["count"], "3")

    with contextlib.ExitStack() as others:
        taken = [others.enter_context(contextlib.ExitStack()) for _ in range(2)]
        for each in taken:  # held until the proxy knows that the worker's connection is gone
            equal(each.enter_context(watch("/apisix/"))[1].get("canceled"), None)
        missed = [revision(put(f"/apisix/routes/{number}", "newer", ENDPOINT)) for number in range(3)]
        refusals = queue.Queue()

        def resume():
            while True:  # at once, as APISIX and Patroni do
                with watch("/apisix/", start) as (lines, first, took):
                    if first.get("canceled"):
                        refusals.put((first, took))
                        continue
                    seen = []
                    while len(seen) < len(missed):
                        seen += [int(event["kv"]["mod_revision"]) for event in next(lines)["result"]["events"]]
                    return seen

        resumed = in_background(resume)
        for _ in range(2):
            is_refused(*refusals.get(timeout=PATIENCE), "apisix")
        taken[0].close()
        equal(resumed(), missed, "nothing twice, nothing left out")


def limits():
    rates()
    watches()
    data_plane()
