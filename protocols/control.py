"""What the daemon and its clients say on the control socket: one JSON object a line.

Request   ``{"v": 1, "method": NAME, "params": {...}}``, one per connection.
Reply     ``{"result": {...}}`` or ``{"error": {"code", "message", "hint"}}``, then the daemon closes; a
          streaming method sends many results, one a line, until either side closes.

Methods, with their parameters and what comes back:

    status      -                      NodeView
    peers       -                      {"peers": [PeerView]}
    config      -                      {"settings": [{"name", "value", "origin"}]}
    submit      path                   {"run": id}; path is absolute
    estimate    path                   EstimateView; path is absolute, nothing is started
    resume      run                    {"run": id}
    jobs        -                      {"jobs": [RunView], "hosted": [HostedView]} newest first
    job         run                    RunView (a unique prefix of the id is enough)
    logs        run, follow            stream of EventView, oldest first
    watch       run (or null), every   stream of Snapshot; ends after the run's last state
    stop        run                    {"run": id}
    shutdown    -                      {"dropped"}: in words what waited unsigned, and is lost

Credits (views in ``control_credits``, ``control_entries`` and ``control_earn``; amounts are micro-credits):

    wallet      -                      WalletView
    history     limit, before          {"lines": [HistoryLine]} newest first, those below entry ``before``
    explain     entry                  ExplainView; the entry's number, or the beginning of its id
    payee       peer                   PayeeView: whom a payment would go to
    pay         peer, amount, note     stream of WriteView; ends once the entry is final
    stake       amount                 the same
    unstake     amount                 the same
    earn        -                      EarnView
    invoice     run, detail, after     InvoiceView; in detail a line for each voucher, those after line ``after``
    receipts    payer, lane, number    ReceiptsView: the signed bytes behind one voucher
    ledger      -                      LedgerView

The network (in objects of plain values; ``swarmd/ledger/network_methods.py`` makes them):

    invite        -                    {"invite", "network", "name", "private", "contacts"}
    committee     -                    {"number", "members": [[peer, weight]], "weight", "quorum", "operator", "us"}
    committee_set members              the same, once the new committee votes; members as above, operator's node only

Every view is a frozen dataclass; ``as_json`` makes the object that travels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from swarmd.protocols.control_credits import CreditsView, SpendingView

CONTROL_VERSION = 1
MAX_LINE_BYTES = 1 << 22

STATES = (
    "preparing",
    "recruiting",
    "probing",
    "loading",
    "funding",
    "training",
    "recovering",
    "gathering",
    "done",
    "failed",
    "stopped",
)
FINAL_STATES = ("done", "failed", "stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A compute device and what was measured of it."""

    name: str
    kind: str
    """``cuda``, ``mps`` or ``cpu``."""
    threads: int
    memory_bytes: int
    flops: float
    """Measured float32 operations per second."""
    numerics: str
    """The numerics class: build, instruction set, threads."""
    utilization: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    memory_used_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """Another node, as its verified advert describes it."""

    peer: str
    name: str
    connected: bool
    device: DeviceView
    addresses: tuple[str, ...]
    price: int
    """Micro-credits per 10^12 operations."""
    accepts: str
    """Whose jobs it takes: ``self``, ``list`` or ``network``."""
    sequence: int
    expires_in: float
    """Seconds."""
    round_trip_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """The daemon itself."""

    version: str
    peer: str
    pid: int
    network: str
    addresses: tuple[str, ...]
    """Multiaddresses that end in /p2p/PEER: what another node's --bootstrap takes."""
    state_dir: str
    uptime: float
    device: DeviceView | None
    """None until the probe has ended."""
    peers: int
    hosting: tuple[str, ...]
    """Runs this node holds a stage of."""
    idle_reason: str
    """Why no stage runs here, in words; empty when one does."""
    runs: int
    counters: dict[str, int] = field(default_factory=dict[str, int])
    credits: CreditsView | None = None
    """None on a network without credits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """A stage of a run and the peer that holds it."""

    index: int
    peer: str
    name: str
    device: str
    first_layer: int
    last_layer: int
    """Inclusive."""
    step: int
    busy: float
    """Share of wall time spent computing, 0 to 1."""
    forward_ms: float
    backward_ms: float
    micro_batches: int
    bytes_sent: int
    bytes_received: int
    link_mbit: float
    """Tensor traffic to the next stage over the last interval; 0 for the last stage."""
    cpu_seconds: float
    pid: int
    reason: str
    """Why the planner put these layers here."""
    commit_ms: float = 0.0
    """Mean of one optimizer step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryView:
    """A run lost a peer, and went on."""

    rung: str
    """``replica``: another one of its stage took over. ``checkpoint``: those left, and spares, went on from the newest.
    ``term``: the same, with peers that were asked anew."""
    reason: str
    step: int
    """What all went on from."""
    again: int
    """Committed steps that were computed once more."""
    seconds: float
    """From when the loss was noticed until all trained again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as its submitter's daemon sees it."""

    run: str
    name: str
    spec: str
    state: str
    """One of STATES."""
    code: str
    """Of the error that ended it, as in ``errors``: ``refused``, ``peer_lost``, ...; else empty."""
    reason: str
    """Why it failed or stopped, in words; else empty."""
    term: int
    step: int
    steps: int
    created: float
    """Unix time."""
    elapsed: float
    """Seconds of training so far."""
    eta: float | None
    tokens_per_s: float
    """Over the last few steps."""
    tokens_per_s_mean: float
    loss: float | None
    losses: tuple[tuple[int, float], ...]
    """(step, training loss), thinned to at most 400 points."""
    evals: tuple[tuple[int, float], ...]
    """(step, held-out loss)."""
    parameters: int
    checkpoint: int | None
    """Newest step whose checkpoint is whole on the submitter's disk."""
    stages: tuple[StageView, ...]
    directory: str
    """Where the result and its records are."""
    weights_sha256: str | None = None
    """Of model.safetensors, once written."""
    spending: SpendingView | None = None
    """None where nothing is paid for."""
    recoveries: tuple[RecoveryView, ...] = ()
    """The newest of this daemon's life, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedView:
    """A run of somebody else that this node holds a stage of now."""

    run: str
    submitter: str
    stage: str
    """What it does, in words."""
    lane: int
    """The submitter's lane that pays it; 0: it is free, or its terms are not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateView:
    """What a job would cost, and how long it would take at least. Amounts in micro-credits."""

    name: str
    spec: str
    operations: int
    tokens: int
    low: int
    high: int
    max_credits: int
    affordable: bool
    """Within the budget and the balance, without any peer of ``may_refuse``."""
    seconds: int | None
    """At least, with the plan that would be made now; None: there is none."""
    stages: int
    """Of that plan."""
    fit: tuple[str, ...]
    """Peers that are offered a stage, and that nothing they say speaks against."""
    may_refuse: tuple[str, ...]
    """Other peers that are asked too, and why they may refuse, in words."""
    left_out: tuple[str, ...]
    """Why the rest is not asked, in words."""
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """Something worth a line in the log."""

    time: float
    level: str
    """``info``, ``warning`` or ``error``."""
    run: str
    """Empty for an event of the node."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that the dashboard draws."""

    now: float
    node: NodeView
    peers: tuple[PeerView, ...]
    run: RunView | None
    events: tuple[EventView, ...]


def as_json(view: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the views
    """The JSON object of a view."""
    return asdict(view)


def run_view(obj: dict[str, Any]) -> RunView:
    """A RunView from its JSON object."""
    stages = tuple(StageView(**stage) for stage in obj["stages"])
    points = {name: tuple((int(step), float(loss)) for step, loss in obj[name]) for name in ("losses", "evals")}
    spending = SpendingView(**obj["spending"]) if obj.get("spending") else None
    recoveries = tuple(RecoveryView(**each) for each in obj.get("recoveries", ()))
    known: dict[str, Any] = {**obj, **points, "stages": stages, "spending": spending, "recoveries": recoveries}
    return RunView(**known)


def node_view(obj: dict[str, Any]) -> NodeView:
    """A NodeView from its JSON object."""
    device = DeviceView(**obj["device"]) if obj["device"] else None
    lists = {name: tuple(obj[name]) for name in ("addresses", "hosting")}
    credits = CreditsView(**obj["credits"]) if obj.get("credits") else None
    known: dict[str, Any] = {**obj, **lists, "device": device, "credits": credits}
    return NodeView(**known)


def peer_view(obj: dict[str, Any]) -> PeerView:
    """A PeerView from its JSON object."""
    device = DeviceView(**obj["device"])
    known: dict[str, Any] = {**obj, "device": device, "addresses": tuple(obj["addresses"])}
    return PeerView(**known)


def snapshot(obj: dict[str, Any]) -> Snapshot:
    """A Snapshot from its JSON object."""
    return Snapshot(
        now=obj["now"],
        node=node_view(obj["node"]),
        peers=tuple(peer_view(peer) for peer in obj["peers"]),
        run=run_view(obj["run"]) if obj["run"] else None,
        events=tuple(EventView(**event) for event in obj["events"]),
    )
