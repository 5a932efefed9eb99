"""What the Python programs share: where the proxies are, and how a scenario is run and told about."""

import os
import sys
import threading
import time
import traceback

ENDPOINTS = os.environ["ENDPOINTS"].split(",")
GUARDED = os.environ["GUARDED"].split(",")
ROOT_NAME, ROOT_PASSWORD = os.environ["ROOT"].split(":")

PATIENCE = 60
"""How long a scenario may wait for an answer, seconds: two busy cores are shared with much else."""


def spread(name):
    """Keys on different shards: below /registry, each directory may lie elsewhere."""
    return [f"/registry/{name}{i}/key" for i in range(9)]


def equal(actual, expected, what=""):
    assert actual == expected, f"{what}: {actual!r}, expected {expected!r}"


def in_background(work):
    """Starts `work` in a thread; the result of calling what this gives is the work's."""
    answers = []

    def run():
        try:
            answers.append((work(), None))
        except BaseException as error:  # handed on to whoever asks for the result
            answers.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result():
        thread.join(PATIENCE)
        assert answers, "no answer in time"
        value, error = answers[0]
        if error:
            raise error
        return value

    return result


def run(scenarios):
    """Runs `{name: function}` (those in the arguments, or all); prints `ok NAME` for each that holds."""
    failed = False
    for name, scenario in scenarios.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        began = time.monotonic()
        try:
            scenario()
        except Exception:
            failed = True
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
        else:
            print(f"ok {name}\n   in {time.monotonic() - began:.2f} s", flush=True)
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # a client's threads do not hold the process back
