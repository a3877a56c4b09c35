"""The job spec: everything that decides the bits of a training run, and nothing else.

A spec is *resolved*: defaults are filled in, data and checkpoints are named by content hash, real
numbers are written as the exact strings Python gives back for a double. ``spec_id`` hashes all of it. Weights, data
order and every random number of a run follow from the spec alone; it holds no code and no path.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash, SpecId, tagged_hash
from swarmd.protocols.records import ADDED, from_value, to_value

SCHEMA = 1
MAX_SPEC_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A Llama-family decoder. Names are those of Hugging Face's ``LlamaConfig``."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rms_norm_eps: str = "1e-05"
    rope_theta: str = "10000.0"
    initializer_range: str = "0.02"
    weights: BlobHash | None = None
    """A checkpoint manifest to start from; None: seeded from the spec id."""
    subspace: int = field(default=0, metadata=ADDED)
    """Coefficients per token that every block but the last adds to, and that cross boundaries; 0: hidden states do."""

    @property
    def head_dim(self) -> int:
        """Values per attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def boundary_width(self) -> int:
        """Numbers per token that cross a boundary."""
        return self.subspace or self.hidden_size

    def is_narrow(self, layer: int) -> bool:
        """Whether a block adds to the coefficients of a subspace, not to hidden states."""
        return self.subspace > 0 and layer < self.num_hidden_layers - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSpec:
    """How text became token ids."""

    kind: str
    """``bytes`` (ids 0-255 are the bytes) or ``file`` (a tokenizer.json)."""
    file: BlobHash | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSpec:
    """A run of token ids, little-endian, stored as one blob."""

    blob: BlobHash
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Token shards by content hash. Held-out blocks are disjoint from training ones."""

    source: str
    """``manifest``: every member of the run may fetch the shards and recompute the data."""
    dtype: str
    """``u16`` or ``u32``: the width of one token id."""
    train: tuple[ShardSpec, ...]
    held_out: tuple[ShardSpec, ...]
    text_hash: BlobHash
    """BLAKE3 of the text the shards were made from."""

    @property
    def train_tokens(self) -> int:
        """How many token ids there are to train on."""
        return sum(shard.tokens for shard in self.train)

    @property
    def held_out_tokens(self) -> int:
        """How many token ids are kept for evaluation."""
        return sum(shard.tokens for shard in self.held_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSpec:
    """AdamW with a cosine schedule after a linear warm-up."""

    name: str = "adamw"
    lr: str = "0.0015"
    min_lr: str = "0.00015"
    warmup_steps: int = 20
    beta1: str = "0.9"
    beta2: str = "0.95"
    eps: str = "1e-08"
    weight_decay: str = "0.1"
    """Applied to matrices only, never to norm weights."""
    clip: str = "1.0"
    """Limit on the gradient norm; each of the layers + 2 units gets clip / sqrt(units)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpec:
    """What flows through the stages. All micro-batches have one shape."""

    sequence_length: int
    """Tokens per sequence."""
    micro_batch_size: int = 1
    """Sequences per micro-batch."""
    micro_batches: int = 4
    """Micro-batches per step."""

    @property
    def tokens_per_step(self) -> int:
        """Targets that one optimizer step averages over."""
        return self.sequence_length * self.micro_batch_size * self.micro_batches

    def of_lane(self, lane: int, lanes: int) -> range:
        """The micro-batches of one of the replicas that train apart; all of them where there is one."""
        return range(lane, self.micro_batches, lanes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """How long to train, and when to look."""

    steps: int
    eval_every: int
    eval_windows: int
    """Held-out windows of ``sequence_length`` tokens that one evaluation reads, a multiple of micro_batch_size."""
    checkpoint_every: int
    async_after: int | None = field(default=None, metadata=ADDED)
    """``flow-async``: so many steps are synchronous first. None: all are, ``flow-sync``."""

    @property
    def asynchronous(self) -> bool:
        """Whether there are stale steps."""
        return self.async_after is not None

    def stale(self, step: int) -> bool:
        """Whether a step's gradient is taken with the weights before the newest.

        The step after a checkpoint's is not, so that a checkpoint is all that a run needs to go on.
        """
        late = self.async_after is not None and self.async_after < step <= self.steps
        return late and (step - 1) % self.checkpoint_every != 0

    def computed_with(self, step: int) -> int:
        """The version of the weights that a step's gradient is taken with; the update is of version ``step - 1``."""
        return step - 1 - self.stale(step)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericsSpec:
    """What makes the bits."""

    dtype: str = "float32"
    """What matrix products are computed in. Weights, moments and sums are float32 whatever it is."""
    sum: str = "exact"
    """``exact``: gradient sums on a fixed grid of 2^-40, in any order; ``ordered``: float32, in micro-batch order."""
    threads: int = 1
    """CPU threads of one stage; part of the bits on a CPU."""
    compiler: str = field(default="none", metadata=ADDED)
    """What makes code of blocks for training steps: ``none`` (torch's own kernels) or ``inductor`` (torch.compile)."""

    @property
    def compiled(self) -> bool:
        """Whether blocks are compiled."""
        return self.compiler != "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class WireSpec:
    """How boundary tensors travel: codecs of ``swarmd.protocols.codecs``. A lossy one is part of the numerics.

    At every boundary, between two nodes or inside a process, the layers after it get ``decode(encode(x))``, and the
    gradient that goes back over it is ``decode(encode(g))``.
    """

    forward: str = "raw"
    """Of hidden states, while training and in evaluation."""
    backward: str = "raw"
    """Of their gradients."""
    boundaries: tuple[int, ...] = ()
    """Layers before which a lossy codec applies and stages may be cut: g, 2 g, 3 g ...; empty with ``raw``: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragingSpec:
    """Local steps: replicas of every stage train apart, and average their weights now and then (decision 16)."""

    replicas: int = 1
    """1: nothing is averaged. Micro-batch i of a step is replica (i mod replicas)'s."""
    every: int = 10
    """Each unit is averaged once in so many steps, and all of them at every checkpoint."""
    codec: str = "int8"
    """Of the changes that replicas tell each other."""
    rate: str = "1.0"
    """The outer learning rate: how far the average moves the weights."""
    momentum: str = "0.0"
    """The outer Nesterov momentum; it begins anew at every checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A whole training run, resolved."""

    schema: int = SCHEMA
    name: str
    seed: int
    """Gives two otherwise equal specs different weights and data order."""
    model: ModelSpec
    tokenizer: TokenizerSpec
    data: DataSpec
    optimizer: OptimizerSpec
    batch: BatchSpec
    schedule: ScheduleSpec
    numerics: NumericsSpec
    wire: WireSpec
    averaging: AveragingSpec = field(default=AveragingSpec(), metadata=ADDED)

    @property
    def lanes(self) -> int:
        """Replicas that train apart, each with its own micro-batches; 1 without local steps."""
        return self.averaging.replicas

    @property
    def may_share_stages(self) -> bool:
        """Whether replicas of a stage end with the plain loop's bits: sums in any grouping, and no stale steps."""
        return self.lanes == 1 and self.numerics.sum == "exact" and not self.schedule.asynchronous

    def to_bytes(self) -> bytes:
        """Canonical bytes: the fields' values in order, nested."""
        return encode(to_value(self))

    @property
    def spec_id(self) -> SpecId:
        """The hash of the whole spec."""
        return SpecId(tagged_hash("swarmd/spec/1", to_value(self)))


def parse_spec(raw: bytes) -> JobSpec:
    """Read and check a spec from a peer. Raises ProtocolViolation."""
    value = decode(raw, limit=MAX_SPEC_BYTES)
    if not isinstance(value, tuple) or not value or value[0] != SCHEMA:
        raise ProtocolViolation(f"a job spec of another schema than {SCHEMA}")
    return from_value(JobSpec, value)
