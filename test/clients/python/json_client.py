"""Calls of the JSON gateway, with nothing but the standard library."""

import base64
import contextlib
import http.client
import json

from scenarios import ENDPOINTS, PATIENCE, equal

ONE, TWO = ENDPOINTS[0], ENDPOINTS[-1]


def b64(text):
    return base64.b64encode(text.encode()).decode()


def text(encoded):
    return base64.b64decode(encoded).decode()


def after(prefix):
    """The range's end for a prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


def post(endpoint, path, body=None, token=None):
    connection = http.client.HTTPConnection(endpoint, timeout=PATIENCE)
    with contextlib.closing(connection):
        headers = {"Authorization": token} if token else {}
        connection.request("POST", path, json.dumps(body or {}), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    if response.status != 200:
        raise Refused(response.status, answer)
    return answer


def get(endpoint, path):
    connection = http.client.HTTPConnection(endpoint, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


@contextlib.contextmanager
def stream(endpoint, path, body, token=None):
    """The lines of a streaming answer, as they come."""
    connection = http.client.HTTPConnection(endpoint, timeout=PATIENCE)
    with contextlib.closing(connection):
        headers = {"Authorization": token} if token else {}
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        equal(response.status, 200, path)
        yield (json.loads(line) for line in iter(response.readline, b""))


def refusal(*args, **more):
    """How a request is refused: HTTP status, gRPC code and text (in `error` and `message` alike)."""
    try:
        answer = post(*args, **more)
    except Refused as refused:
        equal(refused.body.get("message", refused.body["error"]), refused.body["error"], "message")
        return refused.status, refused.body["code"], refused.body["error"]
    raise AssertionError(f"not refused: {answer}")


def put(key, value, endpoint=ONE, token=None, **more):
    return post(endpoint, "/v3/kv/put", {"key": b64(key), "value": b64(value), **more}, token)


def read(key, endpoint=TWO, token=None, prefix=False, **more):
    body = {"key": b64(key), **({"range_end": b64(after(key))} if prefix else {}), **more}
    return post(endpoint, "/v3/kv/range", body, token)


def revision(answer):
    return int(answer["header"]["revision"])
