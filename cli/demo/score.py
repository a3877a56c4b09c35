"""What the demo found, as one JSON object and as a card that a stranger understands."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from swarmd.cli.demo.credits import Credits, words
from swarmd.protocols.control import RunView


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The demo's result; every figure was measured in this run."""

    run: str
    state: str
    reason: str
    nodes: list[dict[str, Any]]
    stages: list[dict[str, Any]]
    steps: int
    parameters: int
    loss_first: float
    """Held-out loss of the untrained model, nats per token."""
    loss_last: float
    bigram_loss: float
    reference_loss_last: float
    """Of the plain single-process loop on the same spec."""
    weights_sha256: str
    reference_sha256: str
    bit_identical: bool
    tokens_per_s: float
    ceiling_tokens_per_s: float
    """The plain loop's rate times the cores the swarm could use."""
    cores: int
    seconds: float
    sample: str
    model_dir: str
    nodes_dir: str
    """The nodes' state folders; empty if they are removed."""
    orphans: int
    credits: Credits

    @property
    def good(self) -> bool:
        """Whether the swarm did what it promises."""
        return self.state == "done" and self.bit_identical and self.orphans == 0 and self.credits.balanced


def stages_of(view: RunView) -> list[dict[str, Any]]:
    """Who held which layers."""
    return [
        {"peer": stage.peer, "layers": f"{stage.first_layer}-{stage.last_layer}", "why": stage.reason}
        for stage in view.stages
    ]


def nodes_of(view: RunView) -> list[dict[str, Any]]:
    """What each node that held a stage did."""
    return [
        {
            "name": stage.name,
            "peer": stage.peer,
            "pid": stage.pid,
            "layers": f"{stage.first_layer}-{stage.last_layer}",
            "cpu_seconds": round(stage.cpu_seconds, 2),
            "bytes_sent": stage.bytes_sent,
            "bytes_received": stage.bytes_received,
        }
        for stage in view.stages
    ]


def as_object(score: Score) -> dict[str, Any]:
    """The last line of ``--json``."""
    return asdict(score)


def card(score: Score) -> str:
    """The last lines for people."""
    same = "the same file, bit for bit" if score.bit_identical else "NOT the same bits"
    share = score.tokens_per_s / score.ceiling_tokens_per_s if score.ceiling_tokens_per_s else 0.0
    rows = [
        (
            "swarm",
            f"{len(score.nodes)} nodes, {len(score.stages)} stages, {score.parameters / 1e6:.2f} M parameters",
        ),
        ("held-out loss", f"{score.loss_first:.3f} to {score.loss_last:.3f} nats in {score.steps} steps"),
        ("a bigram table", f"{score.bigram_loss:.3f} nats"),
        ("the plain loop", f"{score.reference_loss_last:.3f} nats: {same}"),
        (
            "speed",
            f"{score.tokens_per_s:,.0f} tokens/s, {share:.0%} of what {score.cores} plain loops would give",
        ),
        ("credits", words(score.credits)),
        ("it writes", score.sample),
        ("model", score.model_dir),
        ("the nodes' files", score.nodes_dir or "removed"),
        ("left running", "nothing" if not score.orphans else f"{score.orphans} processes"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)
