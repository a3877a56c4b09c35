"""What a job file that is in order means: values, defaults, names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.batchtable import BatchTable
from swarmd.protocols.budget import Budget
from swarmd.protocols.errors import JobFileError
from swarmd.protocols.jobbuild import Settings
from swarmd.protocols.jobfile import JobFile, decode_job, parse_job
from swarmd.protocols.jobschema import FIELDS, OTHER_NAMES
from swarmd.protocols.jobtables import DataTable, ModelTable, RunTable, TokenizerTable, WireTable
from swarmd.protocols.spec import AveragingSpec, BatchSpec, NumericsSpec, OptimizerSpec, ScheduleSpec, WireSpec
from swarmd.protocols.wirerules import group_count, group_of

SHORTEST = "[data]\nembedded = true\n"
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_only_data_must_be_given() -> None:
    assert parse_job(SHORTEST, "folder/my job.toml") == JobFile(
        name="my-job",
        seed=0,
        model=ModelTable(
            checkpoint=None,
            vocab=None,
            layers=8,
            hidden=128,
            heads=4,
            kv_heads=4,
            feed_forward=352,
            context=128,
            norm_eps="1e-05",
            rope_theta="10000.0",
            init_std="0.02",
            subspace=0,
        ),
        tokenizer=TokenizerTable(kind="bytes"),
        data=DataTable(embedded=True),
        batch=BatchTable(sequence_length=128, micro_batch_size=1, micro_batches=4),
        optimizer=OptimizerSpec(),
        schedule=ScheduleSpec(steps=300, eval_every=50, eval_windows=32, checkpoint_every=100),
        numerics=NumericsSpec(),
        wire=WireTable(codec="raw"),
        averaging=AveragingSpec(),
        run=RunTable(min_stages=1, max_stages=None),
        budget=Budget(),
    )


def test_a_setting_that_has_no_default_must_be_given() -> None:
    with pytest.raises(TypeError, match=r"model\.vocab has no default"):
        Settings({}).get("model.vocab", int)


EVERY_SETTING = """
name = "a-name"
seed = 7
steps = 50
[model]
vocab = 300
layers = 2
hidden = 64
heads = 4
kv_heads = 2
feed_forward = 96
context = 64
norm_eps = 1e-6
rope_theta = 500000
init_std = 0.01
subspace = 16
tie_word_embeddings = false
[tokenizer]
file = "tokenizer.json"
[data]
jsonl = ["a.jsonl", "b.jsonl"]
field = "body"
[batch]
sequence_length = 32
micro_batch_size = 2
micro_batches = 8
[optimizer]
lr = 1
min_lr = 0
warmup_steps = 50
beta1 = 0
beta2 = 0.99
eps = 1e-9
weight_decay = 0
clip = 0.5
[evaluation]
every = 10
windows = 6
[checkpoint]
every = 25
[numerics]
dtype = "bfloat16"
sum = "ordered"
threads = 2
[wire]
codec = "int8/int4"
boundaries = [1]
[run]
min_stages = 1
max_stages = 2
[budget]
max_credits = 2.5
max_price = 40
pay_every = 4
lane_hours = 24
"""


def test_every_setting_is_taken() -> None:
    job = parse_job(EVERY_SETTING, "job.toml")
    assert (job.name, job.seed) == ("a-name", 7)
    assert job.model == ModelTable(
        checkpoint=None,
        vocab=300,
        layers=2,
        hidden=64,
        heads=4,
        kv_heads=2,
        feed_forward=96,
        context=64,
        norm_eps="1e-06",
        rope_theta="500000.0",
        init_std="0.01",
        subspace=16,
    )
    assert job.tokenizer == TokenizerTable(kind="file", file="tokenizer.json")
    assert job.data == DataTable(jsonl=("a.jsonl", "b.jsonl"), field="body")
    assert job.batch.cut() == BatchSpec(sequence_length=32, micro_batch_size=2, micro_batches=8)
    assert job.optimizer == OptimizerSpec(
        lr="1.0",
        min_lr="0.0",
        warmup_steps=50,
        beta1="0.0",
        beta2="0.99",
        eps="1e-09",
        weight_decay="0.0",
        clip="0.5",
    )
    assert job.schedule == ScheduleSpec(steps=50, eval_every=10, eval_windows=6, checkpoint_every=25)
    assert job.numerics == NumericsSpec(dtype="bfloat16", sum="ordered", threads=2)
    assert job.wire == WireTable(codec="int8/int4", boundaries=(1,))
    assert job.wire.resolved(2) == WireSpec(forward="int8", backward="int4", boundaries=(1,))
    assert job.run == RunTable(min_stages=1, max_stages=2)
    assert job.budget == Budget(max_credits=2_500_000, max_price=40, pay_every=4, lane_hours=24)


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        ("[model]\nhidden = 96", "model.feed_forward", 256),
        ("[model]\nheads = 8", "model.kv_heads", 8),
        ("[batch]\nsequence_length = 512", "model.context", 512),
        ("[batch]\nmicro_batch_size = 5", "schedule.eval_windows", 35),
        ("[optimizer]\nlr = 0.003", "optimizer.min_lr", "0.0003"),
        ("[data]\ntext = 'books'", "data.text", ("books",)),
        ("[model]\ncheckpoint = 'llama'", "tokenizer.kind", "checkpoint"),
        ("[model]\ncheckpoint = 'llama'\n[tokenizer]\nkind = 'bytes'", "tokenizer.kind", "bytes"),
    ],
)
def test_a_default_follows_from_other_settings(lines: str, field: str, value: object) -> None:
    text = lines if "[data]" in lines else f"{lines}\n{SHORTEST}"
    table, _, key = field.partition(".")
    assert getattr(getattr(parse_job(text, "job.toml"), table), key) == value


@pytest.mark.parametrize(
    ("layers", "boundaries"),
    [(1, ()), (2, (1,)), (8, (1, 2, 3, 4, 5, 6, 7)), (9, (2, 4, 6, 8)), (32, (4, 8, 12, 16, 20, 24, 28))],
)
def test_a_lossy_wire_has_at_most_eight_groups(layers: int, boundaries: tuple[int, ...]) -> None:
    wire = WireTable(codec="int8/int4").resolved(layers)
    assert wire == WireSpec(forward="int8", backward="int4", boundaries=boundaries)
    assert group_count(wire, layers) <= 8


@pytest.mark.parametrize("lines", ["", "[model]\nlayers = 1\n", "[model]\ncheckpoint = 'llama'\n"])
def test_a_wire_may_be_left_open_or_named_where_the_layers_are_not_known_yet(lines: str) -> None:
    assert parse_job(f"{lines}[wire]\ncodec = 'auto'\n{SHORTEST}", "job.toml").wire == WireTable(codec="auto")
    if "llama" in lines:
        text = f"{lines}[wire]\ncodec = 'int8'\nboundaries = [4, 2]\n{SHORTEST}"
        assert parse_job(text, "job.toml").wire == WireTable(codec="int8", boundaries=(2, 4))


def test_auto_is_what_is_chosen_for_it() -> None:
    table = WireTable(codec="auto", boundaries=(2,))
    assert table.resolved(4) == WireSpec()
    assert table.resolved(4, "bf16") == WireSpec(forward="bf16", backward="bf16", boundaries=(2,))


def test_without_boundaries_a_model_may_be_cut_anywhere() -> None:
    assert (group_of(WireSpec()), group_count(WireSpec(), 9)) == (1, 9)
    assert group_of(WireTable(codec="int4").resolved(9)) == 2


def test_a_short_run_has_a_short_warm_up() -> None:
    assert parse_job("steps = 50\n" + SHORTEST, "job.toml").optimizer.warmup_steps == 5


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/Ünder_1.toml", "nder_1"), ("....", "job"), ("-", "job"), ("x" * 99 + ".toml", "x" * 64)],
)
def test_a_job_without_a_name_is_called_after_its_file(path: str, name: str) -> None:
    assert parse_job(SHORTEST, path).name == name


def test_two_spellings_of_one_job_are_equal() -> None:
    inline = 'data = {embedded = true}\nmodel.layers = 2\noptimizer = {lr = 2e-3}\n"name" = "n"\n'
    tables = "name = 'n'\n[optimizer]\nlr = 0.002\n[model]\nlayers = 2\n[data]\nembedded = true\n"
    assert parse_job(inline, "x.toml") == parse_job(tables, "y.toml")


def test_a_byte_order_mark_and_carriage_returns_do_no_harm() -> None:
    raw = b"\xef\xbb\xbf" + SHORTEST.replace("\n", "\r\n").encode()
    assert parse_job(decode_job(raw, "job.toml"), "job.toml") == parse_job(SHORTEST, "job.toml")


def test_the_examples_are_in_order() -> None:
    for file in sorted(EXAMPLES.glob("*.toml")):
        assert parse_job(decode_job(file.read_bytes(), str(file)), str(file)).name == file.stem


def test_the_page_on_job_files_explains_every_setting() -> None:
    page = (EXAMPLES.parent / "docs" / "job-file.md").read_text(encoding="utf-8")
    for field in FIELDS:
        assert f"`{field.key}`" in page, field.dotted
    your_text = (EXAMPLES / "your-text.toml").read_text(encoding="utf-8")
    for field in FIELDS:
        assert f"{field.key} =" in your_text or field.key == "tie_word_embeddings", field.dotted


def test_names_of_other_programs_lead_to_settings() -> None:
    assert set(OTHER_NAMES.values()) <= {field.dotted for field in FIELDS}


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_job_or_has_problems(text: str) -> None:
    found: tuple[str, ...] = ()
    try:
        parse_job(text, "job.toml")
    except JobFileError as error:
        found = error.problems or ("no problem told",)
    assert all(problem.startswith("job.toml:") for problem in found)
