"""Hand-made views: a node, its peers, and runs in each state."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

from swarmd import __version__
from swarmd.protocols.control import DeviceView, EventView, NodeView, PeerView, RunView, Snapshot, StageView

START = 1_790_000_000.0
PEERS = tuple(f"12D3KooW{name * 9}"[:52] for name in ("AbCdEfGh", "BcDeFgHj", "CdEfGhJk"))
NAMES = ("attic", "study", "cellar")
RUN = hashlib.sha256(b"a run").hexdigest()
SPEC = hashlib.sha256(b"a spec").hexdigest()


def device(index: int = 0) -> DeviceView:
    name = ("RTX 3060", "RTX 4090", "Ryzen 7 5800X")[index % 3]
    kind = "cpu" if index % 3 == 2 else "cuda"
    return DeviceView(
        name=name,
        kind=kind,
        threads=8,
        memory_bytes=(12, 24, 32)[index % 3] << 30,
        flops=(12.7e12, 82.6e12, 4.8e11)[index % 3],
        numerics="torch 2.13.0",
        utilization=0.71,
        temperature_c=64.0,
        power_w=170.0,
    )


def peer(index: int) -> PeerView:
    return PeerView(
        peer=PEERS[index],
        name=NAMES[index],
        connected=index != 2,
        device=device(index),
        addresses=(f"/ip4/192.168.1.{index + 10}/tcp/4801/p2p/{PEERS[index]}",),
        price=1200 * (index + 1),
        accepts=("network", "list", "self")[index],
        sequence=4,
        expires_in=1500.0,
        round_trip_ms=(None, 12.4, 48.0)[index],
    )


def node(version: str = __version__) -> NodeView:
    return NodeView(
        version=version,
        peer=PEERS[0],
        pid=4321,
        network=SPEC,
        addresses=(f"/ip4/192.168.1.10/tcp/4801/p2p/{PEERS[0]}",),
        state_dir="/home/ada/.local/state/swarmd",
        uptime=7512.0,
        device=device(),
        peers=2,
        hosting=(),
        idle_reason="no job asks for a device of this class",
        runs=1,
    )


def stage(index: int) -> StageView:
    return StageView(
        index=index,
        peer=PEERS[index],
        name=NAMES[index],
        device=device(index).name,
        first_layer=index * 4,
        last_layer=index * 4 + 3,
        step=240,
        busy=(0.71, 0.43, 0.96)[index],
        forward_ms=(12.1, 7.4, 21.6)[index],
        backward_ms=(24.2, 14.9, 47.3)[index],
        micro_batches=1920,
        bytes_sent=(312 << 20, 298 << 20, 120 << 20)[index],
        bytes_received=(120 << 20, 310 << 20, 300 << 20)[index],
        link_mbit=(38.2, 37.9, 0.0)[index],
        cpu_seconds=(93.0, 51.0, 188.0)[index],
        pid=5000 + index,
        reason=("fastest link to the data", "most memory", "holds the head; 4 layers balance 68.9 ms")[index],
    )


def losses(until: int) -> tuple[tuple[int, float], ...]:
    steps = range(1, until + 1, max(1, until // 400))
    return tuple((t, 1.9 + 3.6 * math.exp(-t / 90) + 0.12 * math.sin(t * 2.7) * math.cos(t * 0.31)) for t in steps)


def training() -> RunView:
    return RunView(
        run=RUN,
        name="tiny-stories",
        spec=SPEC,
        state="training",
        code="",
        reason="",
        term=1,
        step=240,
        steps=1000,
        created=START - 140,
        elapsed=130.4,
        eta=412.0,
        tokens_per_s=12_342.0,
        tokens_per_s_mean=11_804.0,
        loss=2.3412,
        losses=losses(240),
        evals=((60, 3.9), (120, 2.95), (180, 2.5), (240, 2.402)),
        parameters=7_340_032,
        checkpoint=200,
        stages=tuple(stage(index) for index in range(3)),
        directory=f"/home/ada/.local/state/swarmd/runs/{RUN}",
    )


def preparing() -> RunView:
    return replace(
        training(),
        state="probing",
        step=0,
        elapsed=0.0,
        eta=None,
        tokens_per_s=0.0,
        tokens_per_s_mean=0.0,
        loss=None,
        losses=(),
        evals=(),
        stages=(),
        checkpoint=None,
    )


def done() -> RunView:
    return replace(
        training(),
        state="done",
        step=1000,
        elapsed=540.0,
        eta=0.0,
        losses=losses(1000),
        loss=1.9123,
        evals=(*training().evals, (1000, 1.98)),
        checkpoint=1000,
        weights_sha256="ab" * 32,
    )


def failed() -> RunView:
    return replace(
        training(),
        state="failed",
        code="peer_lost",
        reason="stage 1 was lost and no spare peer has 9.1 GiB free",
        eta=None,
    )


def events() -> tuple[EventView, ...]:
    texts = (
        ("info", "recruited attic, study, cellar"),
        ("info", "plan 1: layers 0-3, 4-7, 8-11"),
        ("info", "checkpoint at step 100"),
        ("warning", "study fell silent for 1.2 s"),
        ("info", "study is back; 3 micro-batches were sent again"),
        ("info", "checkpoint at step 200"),
    )
    return tuple(
        EventView(time=START + 20 * i, level=level, run=RUN, text=text) for i, (level, text) in enumerate(texts)
    )


def snapshot(run: RunView | None) -> Snapshot:
    peers = tuple(peer(index) for index in range(3))
    return Snapshot(now=START, node=node("0.1.0"), peers=peers, run=run, events=events())
