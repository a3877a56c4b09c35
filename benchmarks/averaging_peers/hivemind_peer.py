"""One replica by hivemind, in its own virtual environment; the same lines as ``ours.py``.

The group is matched before the parent says go, so that only the all-reduce itself is timed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time

import hivemind
import numpy as np
import torch
from hivemind.averaging.control import AveragingStage
from hivemind.compression import Float16Compression, NoCompression

LINES = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the libraries print is not an answer


def say(**report):
    """One line to the parent."""
    print(json.dumps(report), file=LINES, flush=True)


def hear():
    """One line from the parent."""
    line = sys.stdin.readline()
    if not line:
        raise SystemExit
    return json.loads(line)


def vector_of(number, place, values):
    """A member's values in a round."""
    return np.random.default_rng((number, place)).standard_normal(values, dtype=np.float32)


def averager_of(count, values, codec, dht):
    """As hivemind's own benchmark builds one; its time-outs do not end a round of this size."""
    compression = Float16Compression() if codec == "float16" else NoCompression()
    return hivemind.averaging.DecentralizedAverager(
        [torch.zeros(values)],
        dht,
        prefix="benchmark",
        target_group_size=count,
        min_group_size=count,
        min_matchmaking_time=3.0,
        request_timeout=2.0,
        compression=compression,
        start=True,
    )


def main(me, count, values, codec):
    """Rounds until stdin ends."""
    say(starting=True)
    peers = hear()["initial"]
    dht = hivemind.DHT(initial_peers=peers, host_maddrs=["/ip4/127.0.0.1/tcp/0"], start=True)
    say(addresses=[str(address) for address in dht.get_visible_maddrs()])
    averager = averager_of(count, values, codec, dht)
    say(ready=True)
    while True:
        number = hear()["round"]
        with averager.get_tensors() as tensors:
            tensors[0].copy_(torch.from_numpy(vector_of(number, me, values)))
        control = averager.step(wait=False, require_trigger=True, timeout=60)
        while control.stage is not AveragingStage.AWAITING_TRIGGER and not control.done():
            time.sleep(0.01)
        say(prepared=number)
        hear()
        begun = time.perf_counter()
        control.allow_allreduce()
        group = control.result(60)
        say(done=number, wall=time.perf_counter() - begun)
        with averager.get_tensors() as tensors:
            result = tensors[0].numpy().copy()
        mean = np.mean([vector_of(number, place, values).astype(np.float64) for place in range(count)], axis=0)
        error = float(np.abs(result - mean).max())
        say(error=error, digest=hashlib.sha256(result.tobytes()).hexdigest(), group=len(group or ()))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
