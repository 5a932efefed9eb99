"""The JSON gateway as Python programs use it, with nothing but the standard library; and what Apache APISIX and Patroni do."""

import json

from json_client import ONE, TWO, after, b64, get, post, put, read, refusal, revision, stream, text
from limits import limits
from scenarios import GUARDED, ROOT_NAME, ROOT_PASSWORD, equal, in_background, run, spread


def puts():
    keys = spread("gateway")
    last = 0
    for i, key in enumerate(keys):
        answer = put(key, str(9 - i))
        assert revision(answer) > last
        last = revision(answer)
        [kv] = read(key)["kvs"]
        equal((text(kv["key"]), text(kv["value"])), (key, str(9 - i)))
        equal((kv["mod_revision"], kv["version"]), (str(last), "1"))
        assert "lease" not in kv, "fields that are zero are left out"
    listed = read("/registry/gateway", prefix=True)
    equal(([text(kv["key"]) for kv in listed["kvs"]], listed["count"]), (keys, "9"))
    newest = read("/registry/gateway", prefix=True, sort_order="DESCEND", sort_target="MOD", limit="2")
    equal([text(kv["key"]) for kv in newest["kvs"]], keys[:-3:-1])
    equal((newest["more"], newest["count"]), (True, "9"))
    assert "kvs" not in read("/registry/nowhere")
    gone = post(TWO, "/v3/kv/deleterange", {"key": b64("/registry/gateway"), "range_end": b64(after("/registry/gateway")), "prev_kv": True})
    equal((gone["deleted"], len(gone["prev_kvs"])), ("9", 9))
    equal(refusal(ONE, "/v3/kv/put", {"value": b64("x")}), (400, 3, "etcdserver: key is not provided"))
    equal(refusal(ONE, "/v3/kv/range", {"key": b64("x"), "revision": "99999999999"})[1:], (11, "etcdserver: mvcc: required revision is a future revision"))


def watch():
    keys = spread("gateway-watch")
    start = revision(put(keys[0], "before")) + 1
    expected = []
    for endpoint in (ONE, TWO):  # live at the one, then from the past at the other
        body = {"create_request": {"key": b64("/registry/gateway-watch"), "range_end": b64(after("/registry/gateway-watch")), "start_revision": start, "prev_kv": True}}
        with stream(endpoint, "/v3/watch", body) as lines:
            created = next(lines)["result"]
            assert created["created"] and "events" not in created
            if not expected:
                expected = [(revision(put(key, f"{key}!", TWO)), key) for key in keys]
                gone = post(ONE, "/v3/kv/deleterange", {"key": b64(keys[2])})
                expected.append((revision(gone), keys[2]))
            seen = []
            while len(seen) < len(expected):
                frame = next(lines)["result"]
                for event in frame["events"]:
                    assert int(event["kv"]["mod_revision"]) <= revision(frame)
                    seen.append((int(event["kv"]["mod_revision"]), text(event["kv"]["key"])))
            equal(seen, expected)
            equal((event["type"], text(event["prev_kv"]["value"])), ("DELETE", f"{keys[2]}!"))


def lease():
    granted = post(ONE, "/v3/lease/grant", {"TTL": 60})
    equal(granted["TTL"], "60")
    keys = spread("gateway-lease")
    for key in keys:
        put(key, "v", TWO, lease=granted["ID"])
    with stream(TWO, "/v3/lease/keepalive", {"ID": granted["ID"]}) as lines:
        equal(next(lines)["result"]["TTL"], "60")
    left = post(TWO, "/v3/lease/timetolive", {"ID": granted["ID"], "keys": True})
    equal(sorted(map(text, left["keys"])), keys)
    equal(post(TWO, "/v3/kv/lease/timetolive", {"ID": granted["ID"]})["grantedTTL"], "60")
    assert granted["ID"] in [each["ID"] for each in post(TWO, "/v3/lease/leases")["leases"]]
    post(TWO, "/v3/kv/lease/revoke", {"ID": granted["ID"]})
    assert "kvs" not in read("/registry/gateway-lease", prefix=True)
    equal(refusal(ONE, "/v3/lease/revoke", {"ID": granted["ID"]}), (404, 5, "etcdserver: requested lease not found"))


def lock():
    first, second = (post(endpoint, "/v3/lease/grant", {"TTL": 60})["ID"] for endpoint in (ONE, TWO))
    held = post(ONE, "/v3/lock/lock", {"name": b64("gateway-lock"), "lease": first})
    waiting = in_background(lambda: post(TWO, "/v3/lock/lock", {"name": b64("gateway-lock"), "lease": second}))
    while int(read("gateway-lock/", prefix=True).get("count", 0)) < 2:
        pass  # until the second one is in line
    post(TWO, "/v3/lock/unlock", {"key": held["key"]})
    handed = waiting()
    assert handed["key"] != held["key"] and text(handed["key"]).startswith("gateway-lock/")
    for each in (first, second):
        post(ONE, "/v3/lease/revoke", {"ID": each})


def election():
    first, second = (post(endpoint, "/v3/lease/grant", {"TTL": 60})["ID"] for endpoint in (ONE, TWO))
    name = b64("gateway-election")
    leader = post(ONE, "/v3/election/campaign", {"name": name, "lease": first, "value": b64("alpha")})["leader"]
    with stream(TWO, "/v3/election/observe", {"name": name}) as lines:
        equal(text(next(lines)["result"]["kv"]["value"]), "alpha")
        waiting = in_background(lambda: post(TWO, "/v3/election/campaign", {"name": name, "lease": second, "value": b64("beta")}))
        while int(read("gateway-election/", prefix=True)["count"]) < 2:
            pass  # until the second one is in line
        post(ONE, "/v3/election/proclaim", {"leader": leader, "value": b64("alpha again")})
        equal(text(next(lines)["result"]["kv"]["value"]), "alpha again")
        post(TWO, "/v3/election/resign", {"leader": leader})
        assert waiting()["leader"]["lease"] == second
        equal(text(next(lines)["result"]["kv"]["value"]), "beta")
    equal(text(post(ONE, "/v3/election/leader", {"name": name})["kv"]["value"]), "beta")
    for each in (first, second):
        post(ONE, "/v3/lease/revoke", {"ID": each})


def authenticate(name, password, endpoint=GUARDED[0]):
    return post(endpoint, "/v3/auth/authenticate", {"name": name, "password": password})["token"]


def auth():
    root = authenticate(ROOT_NAME, ROOT_PASSWORD)
    for path, body in [
        ("user/add", {"name": "web", "password": "secret"}),
        ("role/add", {"name": "webs"}),
        ("role/grant", {"name": "webs", "perm": {"permType": "READWRITE", "key": b64("/registry/web"), "range_end": b64("/registry/wec")}}),
        ("user/grant", {"user": "web", "role": "webs"}),
    ]:
        post(GUARDED[0], f"/v3/auth/{path}", body, root)
    token = authenticate("web", "secret")
    keys = spread("web")
    prefix = {"key": b64("/registry/web"), "range_end": b64("/registry/wec")}
    with stream(GUARDED[-1], "/v3/watch", {"create_request": prefix}, token) as lines:
        assert next(lines)["result"]["created"]
        for key in keys:  # with the first proxy's token at the second one
            put(key, "v", GUARDED[-1], token)
        seen = []
        while len(seen) < len(keys):
            seen += [text(event["kv"]["key"]) for event in next(lines)["result"]["events"]]
        equal(seen, keys)
    equal(post(GUARDED[0], "/v3/kv/range", prefix, token)["count"], "9")
    denied = (403, 7, "etcdserver: permission denied")
    everything = {"key": "AA==", "range_end": "AA=="}
    equal(refusal(GUARDED[0], "/v3/kv/range", everything, token), denied)
    equal(refusal(GUARDED[0], "/v3/kv/put", {"key": b64("/other"), "value": b64("x")}, token), denied)
    equal(refusal(GUARDED[0], "/v3/kv/range", prefix), (400, 3, "etcdserver: user name is empty"))
    equal(refusal(GUARDED[0], "/v3/kv/range", prefix, "nonsense"), (401, 16, "etcdserver: invalid auth token"))
    wrong = refusal(GUARDED[0], "/v3/auth/authenticate", {"name": "web", "password": "wrong"})
    equal(wrong, (400, 3, "etcdserver: authentication failed, invalid user ID or password"))
    with stream(GUARDED[0], "/v3/watch", {"create_request": everything}, token) as lines:
        frames = [next(lines)["result"]]
        while not frames[-1].get("canceled"):
            frames.append(next(lines)["result"])
        equal(frames[-1].get("watch_id"), "-1")
        assert "permission denied" in frames[-1]["cancel_reason"], frames
    post(GUARDED[0], "/v3/auth/user/delete", {"name": "web"}, root)
    post(GUARDED[0], "/v3/auth/role/delete", {"role": "webs"}, root)


def apisix():
    """A gateway's worker: the version, every directory at once, then one watch; routes with ids made from revisions."""
    status, body = get(ONE, "/version")
    equal(status, 200)
    equal([int(part) >= least for part, least in zip(json.loads(body)["etcdcluster"].split("."), (3, 4))], [True, True])
    ids = []
    for kind in ("routes", "upstreams", "services"):
        put(f"/apisix/{kind}/", "init_dir")  # the directory's own entry comes first in a listing
        for _ in range(3):
            number = revision(put(f"/apisix/{kind}/next", ""))  # ids come from a put's header
            ids.append(number)
            put(f"/apisix/{kind}/{number:020d}", json.dumps({"id": number}))
    equal(len(set(ids)), len(ids), "ids")
    listings = {kind: read(f"/apisix/{kind}/", prefix=True) for kind in ("routes", "upstreams", "services")}
    for kind, listing in listings.items():
        equal(text(listing["kvs"][0]["key"]), f"/apisix/{kind}/")
        keys = [text(kv["key"]) for kv in listing["kvs"]]
        equal(keys, sorted(keys))
    start = min(map(revision, listings.values())) + 1
    route = f"/apisix/routes/{ids[0]:020d}"
    [before] = read(route)["kvs"]

    def swap(value, endpoint):
        # Names in both spellings, numbers as numbers and as texts: as lua-resty-etcd and its users mix them.
        return post(endpoint, "/v3/kv/txn", {
            "compare": [
                {"key": b64(route), "target": "MOD", "result": 0, "mod_revision": before["mod_revision"]},
                {"key": b64(route), "target": 1, "result": "EQUAL", "createRevision": int(before["create_revision"])},
            ],
            "success": [{"requestPut": {"key": b64(route), "value": b64(value)}}],
            "failure": [{"request_range": {"key": b64(route)}}],
        })

    with stream(TWO, "/v3/watch", {"create_request": {"key": b64("/apisix/"), "range_end": b64("/apisix0"), "start_revision": start, "prev_kv": True, "progress_notify": True}}) as lines:
        first = next(lines)["result"]
        assert first["created"] and not first.get("events")
        swapped = swap("new", ONE)
        equal(swapped["succeeded"], True)
        refused = swap("newer", TWO)
        assert "succeeded" not in refused, "200 and no success: a worker takes 5xx for a dead endpoint"
        equal(text(refused["responses"][0]["response_range"]["kvs"][0]["value"]), "new")
        granted = post(ONE, "/v3/lease/grant", {"TTL": 60})["ID"]
        added = put("/apisix/upstreams/leased", "u", TWO, lease=granted)
        revoked = post(ONE, "/v3/lease/revoke", {"ID": granted})
        expected = [("routes", revision(swapped)), ("upstreams", revision(added)), ("upstreams", None)]
        seen, header = [], 0
        while len(seen) < len(expected):
            frame = next(lines)["result"]
            assert revision(frame) > header, "a header that does not grow makes a worker read everything again"
            header = revision(frame)
            for event in frame.get("events", []):
                seen.append((text(event["kv"]["key"]).split("/")[2], int(event["kv"]["mod_revision"])))
        equal(seen[:2], expected[:2])
        equal((event.get("type"), "prev_kv" in event), ("DELETE", True))
        assert header >= seen[-1][1] and revision(revoked) >= 0
    # Going on where the last frame was: nothing twice, nothing left out.
    last = put("/apisix/services/last", "s")
    with stream(ONE, "/v3/watch", {"create_request": {"key": b64("/apisix/"), "range_end": b64("/apisix0"), "start_revision": header + 1}}) as lines:
        assert next(lines)["result"]["created"]
        [event] = next(lines)["result"]["events"]
        equal(int(event["kv"]["mod_revision"]), revision(last))
    # From before a compaction: told so in a frame of its own, with the revision to go on from.
    post(TWO, "/v3/kv/compaction", {"revision": str(revision(last))})
    with stream(ONE, "/v3/watch", {"create_request": {"key": b64("/apisix/"), "range_end": b64("/apisix0"), "start_revision": start}}) as lines:
        assert next(lines)["result"]["created"]
        canceled = next(lines)["result"]
        equal((canceled["canceled"], canceled["compact_revision"]), (True, str(revision(last))))
    equal(refusal(ONE, "/v3/kv/range", {"key": b64(route), "revision": start})[1:], (11, "etcdserver: mvcc: required revision has been compacted"))
    assert read(route, prefix=False, endpoint=ONE)["kvs"]
    for version in ("v3beta", "v3alpha"):
        equal(post(TWO, f"/{version}/kv/range", {"key": b64(route)})["kvs"], read(route)["kvs"])


def patroni():
    """A PostgreSQL cluster's leader key: taken with a lease, kept, lost and taken over by another one."""
    members = post(ONE, "/v3/cluster/member/list")["members"]
    assert any(url.endswith(ONE) for member in members for url in member["clientURLs"]), members
    leader, scope = "/service/batman/leader", {"key": b64("/service/batman/"), "range_end": b64("/service/batman0")}
    post(ONE, "/v3/kv/deleterange", scope)
    first, second = (post(endpoint, "/v3/lease/grant", {"TTL": "30"})["ID"] for endpoint in (ONE, TWO))

    def acquire(name, own, endpoint):
        return post(endpoint, "/v3/kv/txn", {
            "compare": [{"target": "CREATE", "create_revision": "0", "key": b64(leader)}],
            "success": [{"request_put": {"key": b64(leader), "value": b64(name), "lease": own}}],
        }).get("succeeded", False)

    equal((acquire("pg1", first, ONE), acquire("pg2", second, TWO)), (True, False))
    # Initialised once; every member's own key hangs on its lease.
    put("/service/batman/members/pg1", "{}", ONE, lease=first)
    put("/service/batman/members/pg2", "{}", TWO, lease=second)
    listed = post(TWO, "/v3/kv/range", {**scope, "serializable": False})
    equal([text(kv["key"]).split("/batman/")[1] for kv in listed["kvs"]], ["leader", "members/pg1", "members/pg2"])
    equal(listed["kvs"][0]["lease"], first)
    # The status is written by the leader alone; otherwise it tries to become the leader first: a transaction in a transaction.
    def update(name, own, endpoint):
        fresh = {
            "compare": [{"target": "CREATE", "create_revision": "0", "key": b64(leader)}],
            "success": [{"request_put": {"key": b64(leader), "value": b64(name), "lease": own}}],
        }
        return post(endpoint, "/v3/kv/txn", {
            "compare": [{"target": "VALUE", "value": b64(name), "key": b64(leader)}],
            "success": [{"request_put": {"key": b64("/service/batman/status"), "value": b64(f"by {name}")}}],
            "failure": [{"request_txn": fresh}],
        })

    equal(update("pg1", first, TWO)["succeeded"], True)
    nested = update("pg2", second, ONE)
    assert "succeeded" not in nested and "succeeded" not in nested["responses"][0]["response_txn"], nested
    with stream(TWO, "/v3/watch", {"create_request": {**scope, "start_revision": str(revision(listed) + 1)}}) as lines:
        assert next(lines)["result"]["created"]
        with stream(ONE, "/v3/lease/keepalive", {"ID": first}) as beats:
            equal(next(beats)["result"]["TTL"], "30")
        post(ONE, "/v3/lease/revoke", {"ID": first})  # the leader shuts down
        seen = []
        while ("DELETE", "leader") not in seen or ("DELETE", "members/pg1") not in seen:
            for event in next(lines)["result"]["events"]:
                seen.append((event.get("type", "PUT"), text(event["kv"]["key"]).split("/batman/")[1]))
        equal(seen[0], ("PUT", "status"))
    with stream(ONE, "/v3/lease/keepalive", {"ID": first}) as beats:
        assert "TTL" not in next(beats)["result"], "no time left: the lease is gone"
    equal(refusal(ONE, "/v3/kv/put", {"key": b64(leader), "value": b64("pg1"), "lease": first}), (404, 5, "etcdserver: requested lease not found"))
    equal(update("pg2", second, ONE)["responses"][0]["response_txn"]["succeeded"], True)
    [kv] = read(leader)["kvs"]
    equal((text(kv["value"]), kv["lease"]), ("pg2", second))
    # Given up only by who holds it: compared by its revision.
    gone = post(TWO, "/v3/kv/txn", {
        "compare": [{"target": "MOD", "mod_revision": kv["mod_revision"], "key": b64(leader)}],
        "success": [{"request_delete_range": {"key": b64(leader)}}],
    })
    equal(gone["responses"][0]["response_delete_range"]["deleted"], "1")
    post(ONE, "/v3/lease/revoke", {"ID": second})


run({"put": puts, "watch": watch, "lease": lease, "lock": lock, "election": election, "auth": auth, "apisix": apisix, "patroni": patroni, "limits": limits})
