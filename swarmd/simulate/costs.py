"""What a job's model costs on described peers, from the job file and the counts of operations alone."""

from __future__ import annotations

from pathlib import Path

from swarmd.protocols.ids import BlobHash, PeerId
from swarmd.protocols.jobfile import JobFile
from swarmd.protocols.spec import DataSpec, JobSpec, TokenizerSpec
from swarmd.protocols.speccheck import dtype_for
from swarmd.protocols.work import head_operations, layer_operations
from swarmd.scheduler.profiles import WorkerProfile
from swarmd.simulate.peers import DescribedPeer
from swarmd.train.prepare import sizes_of, tokenizer_of

BOTH_WAYS = 3
"""Going back costs twice the way there."""
_NO_TEXT = BlobHash("0" * 64)


def spec_of(job: JobFile, base: Path) -> JobSpec:
    """The job's spec as far as its costs go: no text is read, and no checkpoint's weights.

    Raises NotFound or UsageError for a tokenizer or checkpoint that cannot be used.
    """
    tokenizer = tokenizer_of(job, base, lambda _: _NO_TEXT)
    model = sizes_of(job, base, tokenizer)
    return JobSpec(
        name=job.name,
        seed=job.seed,
        model=model,
        tokenizer=TokenizerSpec(kind=tokenizer.spec.kind, file=tokenizer.spec.file),
        data=DataSpec(source="manifest", dtype=dtype_for(model.vocab_size), train=(), held_out=(), text_hash=_NO_TEXT),
        optimizer=job.optimizer,
        batch=job.batch.cut(),
        schedule=job.schedule,
        numerics=job.numerics,
        averaging=job.averaging,
        wire=job.wire.resolved(model.num_hidden_layers),
    )


def profile_of(
    peer: DescribedPeer, identity: PeerId, spec: JobSpec, efficiency: float, *, times: int = 1
) -> WorkerProfile:
    """A described peer as the planner takes it: what a probe would measure, if the description is true.

    ``times``: micro-batches of the described seconds that one of the spec's is as long as.
    """
    layer, head = layer_operations(spec), head_operations(spec)
    if peer.seconds_per_layer is None:
        per_layer = BOTH_WAYS * layer / ((peer.operations_per_s or 1.0) * efficiency)
    else:
        per_layer = times * peer.seconds_per_layer
    return WorkerProfile(
        peer=identity,
        seconds_per_layer=per_layer,
        seconds_embed=times * peer.seconds_embed,
        seconds_head=per_layer * head / layer if peer.seconds_head is None else times * peer.seconds_head,
        memory_bytes=peer.memory_bytes,
        uplink_bytes_per_s=peer.uplink,
    )
