"""Every mistake in a job file, with the whole line that the user reads about it."""

from __future__ import annotations

import pytest

from swarmd.protocols.errors import JobFileError
from swarmd.protocols.jobfile import decode_job, parse_job
from swarmd.protocols.jobtext import MAX_JOB_BYTES

DATA = "\n[data]\nembedded = true\n"

MISTAKES: list[tuple[str, str]] = [
    # kinds of values
    ('steps = "300"', 'job.toml:1: steps = "300": must be a whole number; write 300 without quotes'),
    ('steps = "many"', 'job.toml:1: steps = "many": must be a whole number'),
    ("steps = 300.0", "job.toml:1: steps = 300.0: must be a whole number; use 300"),
    ("steps = nan", "job.toml:1: steps = nan: must be a whole number"),
    ("steps = true", "job.toml:1: steps = true: must be a whole number, not true or false"),
    ("steps = 2024-01-01", "job.toml:1: steps = 2024-01-01: must be a whole number"),
    ("steps = [3]", "job.toml:1: steps = [3]: must be a whole number"),
    ("name = 3", "job.toml:1: name = 3: must be text in quotes"),
    ("wire.codec = 8", 'job.toml:1: wire.codec = 8: must be text in quotes; use "raw"'),
    (
        '[optimizer]\nlr = "0.1"',
        'job.toml:2: optimizer.lr = "0.1": must be a number; write 0.1 without quotes',
    ),
    ('[optimizer]\nlr = "big"', 'job.toml:2: optimizer.lr = "big": must be a number'),
    ("[optimizer]\nlr = false", "job.toml:2: optimizer.lr = false: must be a number, not true or false"),
    ("[optimizer]\nlr = [0.1]", "job.toml:2: optimizer.lr = [0.1]: must be a number"),
    (
        "[model]\ntie_word_embeddings = 1",
        "job.toml:2: model.tie_word_embeddings = 1: must be true or false, without quotes",
    ),
    ("model = 5", "job.toml:1: model = 5: must be a table; write [model] and its settings below it"),
    (
        "[[model]]\nlayers = 2",
        "job.toml:1: model = [{...}]: must be a table; write [model] and its settings below it",
    ),
    ('tokenizer.file = ""', 'job.toml:1: tokenizer.file = "": must not be empty'),
    (
        'tokenizer.file = "a\\u0000b"',
        'job.toml:1: tokenizer.file = "a\\u0000b": must be at most 4096 characters, none of them NUL',
    ),
    # ranges
    ("seed = -1", "job.toml:1: seed = -1: must be from 0 to 9007199254740991; use 0"),
    ("steps = 0", "job.toml:1: steps = 0: must be from 1 to 10000000; use 1"),
    ("steps = 99999999", "job.toml:1: steps = 99999999: must be from 1 to 10000000; use 10000000"),
    (
        "seed = 99999999999999999999",
        "job.toml:1: seed = 99999999999999999999: must be from 0 to 9007199254740991; use 9007199254740991",
    ),
    (
        "seed = 0x" + "f" * 5000,
        "job.toml:1: seed = 0xfffffffffffffffffffffffffffffffffff...: "
        "must be from 0 to 9007199254740991; use 9007199254740991",
    ),
    ("[model]\nlayers = 0", "job.toml:2: model.layers = 0: must be from 1 to 512; use 1"),
    ("[model]\nheads = 0", "job.toml:2: model.heads = 0: must be from 1 to 1024; use 1"),
    ("[model]\nvocab = 1", "job.toml:2: model.vocab = 1: must be from 2 to 4194304; use 2"),
    (
        "[optimizer]\nlr = 0",
        "job.toml:2: optimizer.lr = 0: must be over 0 and at most 10; the default is 0.0015",
    ),
    (
        "[optimizer]\nlr = inf",
        "job.toml:2: optimizer.lr = inf: must be over 0 and at most 10; the default is 0.0015",
    ),
    (
        "[optimizer]\nclip = nan",
        "job.toml:2: optimizer.clip = nan: must be over 0 and at most 1000000; the default is 1.0",
    ),
    ("[optimizer]\nmin_lr = -0.1", "job.toml:2: optimizer.min_lr = -0.1: must be from 0 to 10"),
    (
        "[optimizer]\nbeta1 = 1.0",
        "job.toml:2: optimizer.beta1 = 1.0: must be at least 0 and under 1; the default is 0.9",
    ),
    (
        "[optimizer]\nbeta2 = -0.5",
        "job.toml:2: optimizer.beta2 = -0.5: must be at least 0 and under 1; the default is 0.95",
    ),
    (
        "[model]\nnorm_eps = 1.5",
        "job.toml:2: model.norm_eps = 1.5: must be over 0 and at most 0.1; the default is 1e-05",
    ),
    ("[run]\nmin_stages = 0", "job.toml:2: run.min_stages = 0: must be from 1 to 512; use 1"),
    (
        "[budget]\nmax_credits = -1",
        "job.toml:2: budget.max_credits = -1: must be from 0 to 1000000000000; the default is 0.0",
    ),
    ("[budget]\npay_every = 0", "job.toml:2: budget.pay_every = 0: must be from 1 to 1000; use 1"),
    ("[budget]\nmax_cost = 3", "job.toml:2: budget.max_cost = 3: no such setting; here it is max_credits"),
    # choices and names
    (
        'name = "a b"',
        "job.toml:1: name = \"a b\": must be 1 to 64 letters, digits, '.', '_' or '-', "
        "beginning with a letter or digit",
    ),
    ('[numerics]\nsum = "fast"', 'job.toml:2: numerics.sum = "fast": must be "exact" or "ordered"'),
    ('[numerics]\ndtype = "float16"', 'job.toml:2: numerics.dtype = "float16": must be "float32" or "bfloat16"'),
    (
        '[wire]\ncodec = "int2"',
        'job.toml:2: wire.codec = "int2": must be "raw" or "bf16" or "int8" or "int8/int4" or "int4" or "auto"',
    ),
    *(
        (
            f"[wire]\nboundaries = {value}",
            f"job.toml:2: wire.boundaries = {value}: must be a list of layers, such as [2, 4, 6]: "
            "each the first one after a boundary",
        )
        for value in ("2", "[]", "[0, 2]", '["2"]', "[true]", "[2.5]", "[512]")
    ),
    ('[tokenizer]\nkind = "word"', 'job.toml:2: tokenizer.kind = "word": must be "bytes" or "file"'),
    # settings that do not exist
    ("[model]\nlayer = 4", "job.toml:2: model.layer = 4: no such setting; did you mean layers?"),
    ("[modle]\nlayers = 4", "job.toml:1: modle = {...}: no such setting; did you mean [model]?"),
    ("lr = 0.1", "job.toml:1: lr = 0.1: no such setting; it belongs under [optimizer]"),
    (
        "every = 5",
        "job.toml:1: every = 5: no such setting; it belongs under [evaluation] or under [checkpoint] or "
        "under [averaging]",
    ),
    (
        "[batch]\nsteps = 5",
        "job.toml:2: batch.steps = 5: no such setting; it belongs at the top, before the first [table]",
    ),
    (
        "[model]\nnum_hidden_layers = 4",
        "job.toml:2: model.num_hidden_layers = 4: no such setting; here it is layers",
    ),
    (
        "learning_rate = 0.1",
        "job.toml:1: learning_rate = 0.1: no such setting; here it is lr, under [optimizer]",
    ),
    (
        "[wire]\nspeed = 9",
        "job.toml:2: wire.speed = 9: no such setting; [wire] has codec, boundaries",
    ),
    ("[wire.codec]\nx = 1", 'job.toml:1: wire.codec = {...}: must be text in quotes; use "raw"'),
    (
        '"wire.codec" = "raw"',
        'job.toml:1: wire.codec = "raw": no such setting; the top level has name, seed, steps, [model], '
        "[tokenizer], [data], [batch], [optimizer], [evaluation], [checkpoint], [numerics], [wire], [schedule], "
        "[averaging], [run], [budget]",
    ),
    (
        '"\\u001b[31mlayer" = 1',
        "job.toml:1: ?[31mlayer = 1: no such setting; the top level has name, seed, steps, [model], "
        "[tokenizer], [data], [batch], [optimizer], [evaluation], [checkpoint], [numerics], [wire], [schedule], "
        "[averaging], [run], [budget]",
    ),
    # settings that contradict one another
    ("[model]\nheads = 5", "job.toml:2: model.heads = 5: hidden (128) must divide by heads; use 4 or 8"),
    (
        "[model]\nhidden = 30\nheads = 10",
        "job.toml:3: model.heads = 10: hidden / heads (3) must be even; use 5 or 15",
    ),
    (
        "[model]\nhidden = 7",
        "job.toml:2: model.heads = 4 (the default): hidden (7) must divide by heads; use an even hidden",
    ),
    (
        "[model]\nheads = 8\nkv_heads = 3",
        "job.toml:3: model.kv_heads = 3: heads (8) must divide by kv_heads; use 2 or 4",
    ),
    (
        "[model]\nkv_heads = 8",
        "job.toml:2: model.kv_heads = 8: heads (4) must divide by kv_heads; use 4",
    ),
    (
        "[model]\nhidden = 65536\nlayers = 512",
        "job.toml:2: model.hidden = 65536: the model would have 26,391 billion parameters, "
        "at most 100 billion are taken; use fewer layers or smaller sizes",
    ),
    ("[model]\nvocab = 100", "job.toml:2: model.vocab = 100: bytes need at least 256; remove it"),
    (
        "[model]\ntie_word_embeddings = true",
        "job.toml:2: model.tie_word_embeddings = true: not built yet; remove it: "
        "embedding and head have weights of their own",
    ),
    (
        "[model]\ncheckpoint = 'dir'\nlayers = 4",
        "job.toml:3: model.layers = 4: the checkpoint decides this; remove it",
    ),
    (
        "[model]\ncontext = 64",
        "job.toml:2: batch.sequence_length = 128 (the default): is over the model's context (64); use at most 64",
    ),
    (
        "[batch]\nsequence_length = 131072\nmicro_batch_size = 16",
        "job.toml:3: batch.micro_batch_size = 16: times sequence_length (131072) is over 1048576 tokens; "
        "use at most 8, and more micro_batches",
    ),
    ("[batch]\nsequences = 0", "job.toml:2: batch.sequences = 0: must be from 1 to 16777216; use 1"),
    (
        "[batch]\nglobal_batch_size = 8",
        "job.toml:2: batch.global_batch_size = 8: no such setting; here it is sequences",
    ),
    (
        "[batch]\nsequences = 10\nmicro_batch_size = 3",
        "job.toml:2: batch.sequences = 10: must be a multiple of micro_batch_size (3); use 9 or 12, "
        "or micro_batch_size = 2 or 5",
    ),
    (
        "[batch]\nsequences = 2\nmicro_batch_size = 4",
        "job.toml:2: batch.sequences = 2: must be a multiple of micro_batch_size (4); use 4, or micro_batch_size = 2",
    ),
    (
        "[batch]\nmicro_batches = 8\nsequences = 12",
        "job.toml:3: batch.sequences = 12: must be a multiple of micro_batches (8); use 8 or 16, "
        "or micro_batches = 6 or 12",
    ),
    (
        "[batch]\nsequences = 5003\nmicro_batch_size = 2",
        "job.toml:2: batch.sequences = 5003: must be a multiple of micro_batch_size (2); use 5002 or 5004",
    ),
    (
        "[batch]\nsequences = 8194\nmicro_batch_size = 2",
        "job.toml:2: batch.sequences = 8194: is over 8192, the most with micro_batch_size = 2; use that, "
        "or a larger micro_batch_size",
    ),
    (
        "[batch]\nsequences = 64\nmicro_batches = 2\nsequence_length = 65536",
        "job.toml:2: batch.sequences = 64: is over 32, the most with micro_batches = 2; use that, "
        "or a larger micro_batches",
    ),
    (
        "[batch]\nsequences = 16\nmicro_batch_size = 3\nmicro_batches = 4",
        "job.toml:2: batch.sequences = 16: is not micro_batch_size x micro_batches (3 x 4); use 12, or remove one",
    ),
    (
        "[batch]\nsequences = 5003",
        "job.toml:2: batch.sequences = 5003: cannot be cut into at most 4096 equal micro-batches of up to 4096 "
        "sequences; use 5002 or 5004",
    ),
    (
        "[batch]\nsequences = 10000\n[evaluation]\nwindows = 14",
        "job.toml:2: batch.sequences = 10000: cannot be cut into at most 4096 equal micro-batches of up to 14 "
        "sequences that divide evaluation.windows (14); use 9996 or 10003",
    ),
    (
        "[batch]\nsequences = 100000\nsequence_length = 131072",
        "job.toml:2: batch.sequences = 100000: is over 4096 micro-batches of 8; use at most 32768",
    ),
    (
        "[batch]\nsequences = 12\nmicro_batches = 4\n[evaluation]\nwindows = 8",
        "job.toml:5: evaluation.windows = 8: must be a multiple of micro_batch_size (3); use 6 or 9",
    ),
    (
        "steps = 10\n[optimizer]\nwarmup_steps = 11",
        "job.toml:3: optimizer.warmup_steps = 11: is over steps (10); use at most 10",
    ),
    ("[model]\nsubspace = -2", "job.toml:2: model.subspace = -2: must be from 0 to 65536; use 0"),
    ("[model]\nsubspace = 16.0", "job.toml:2: model.subspace = 16.0: must be a whole number; use 16"),
    (
        "[model]\nsubspace = 130",
        "job.toml:2: model.subspace = 130: is over hidden (128); use at most 128, or 0 for a model of full rank",
    ),
    (
        "[model]\nsubspace = 15",
        "job.toml:2: model.subspace = 15: must be even, as the codec int4 needs it; use 14 or 16",
    ),
    (
        "[model]\nsubspace = 1",
        "job.toml:2: model.subspace = 1: must be even, as the codec int4 needs it; use 2",
    ),
    (
        "[model]\nlayers = 1\nsubspace = 16",
        "job.toml:3: model.subspace = 16: one layer sends nothing; remove it",
    ),
    (
        '[model]\ncheckpoint = "llama"\nsubspace = 16',
        "job.toml:3: model.subspace = 16: a checkpoint has full rank; remove it, or remove checkpoint and train "
        "from seeded weights",
    ),
    (
        "[optimizer]\nmin_lr = 0.01",
        "job.toml:2: optimizer.min_lr = 0.01: is over lr (0.0015); use at most 0.0015",
    ),
    (
        "[evaluation]\nwindows = 31\n[batch]\nmicro_batch_size = 2",
        "job.toml:2: evaluation.windows = 31: must be a multiple of micro_batch_size (2); use 30 or 32",
    ),
    (
        "[evaluation]\nwindows = 1\n[batch]\nmicro_batch_size = 2",
        "job.toml:2: evaluation.windows = 1: must be a multiple of micro_batch_size (2); use 2",
    ),
    (
        '[schedule]\nmode = "async"',
        'job.toml:2: schedule.mode = "async": must be "flow-sync" or "flow-async"',
    ),
    (
        '[schedule]\nmode = "flow-async"\nasync_after = -1',
        "job.toml:3: schedule.async_after = -1: must be from 0 to 10000000; use 0",
    ),
    (
        "[schedule]\nasync_after = 50",
        'job.toml:2: schedule.mode = "flow-sync" (the default): has no async_after; remove that, '
        'or use mode = "flow-async"',
    ),
    (
        '[schedule]\nmode = "flow-async"\nasync_after = 19',
        "job.toml:3: schedule.async_after = 19: stale gradients would come while the learning rate still rises; "
        "use at least warmup_steps (20)",
    ),
    (
        'steps = 100\n[schedule]\nmode = "flow-async"\nasync_after = 100',
        "job.toml:4: schedule.async_after = 100: leaves none of 100 steps to be asynchronous; use at most 99",
    ),
    (
        'steps = 10\n[optimizer]\nwarmup_steps = 11\n[schedule]\nmode = "flow-async"',
        "job.toml:3: optimizer.warmup_steps = 11: is over steps (10); use at most 10",
    ),
    (
        'steps = 100\n[optimizer]\nwarmup_steps = 100\n[schedule]\nmode = "flow-async"',
        "job.toml:3: optimizer.warmup_steps = 100: leaves no step to be asynchronous; use at most 99",
    ),
    (
        '[schedule]\nmode = "flow-async"\n[checkpoint]\nevery = 1',
        "job.toml:4: checkpoint.every = 1: the step after a checkpoint is synchronous, so all would be; use at least 2",
    ),
    (
        "[run]\nmin_stages = 4\nmax_stages = 2",
        "job.toml:2: run.min_stages = 4: is over max_stages (2); use at most 2",
    ),
    (
        '[wire]\ncodec = "raw"\nboundaries = [2, 4, 6]',
        "job.toml:3: wire.boundaries = [2, 4, 6]: raw loses nothing, so stages may be cut anywhere; remove it, "
        "or choose another codec",
    ),
    (
        '[model]\ncheckpoint = "llama"\n[wire]\nboundaries = [2]',
        "job.toml:4: wire.boundaries = [2]: raw loses nothing, so stages may be cut anywhere; remove it, "
        "or choose another codec",
    ),
    *(
        (
            f'[wire]\ncodec = "{codec}"\nboundaries = [3, 4]',
            "job.toml:3: wire.boundaries = [3, 4]: must be evenly spaced and reach through all 8 layers; use [3, 6]",
        )
        for codec in ("int8", "auto")
    ),
    (
        '[model]\nlayers = 64\n[wire]\ncodec = "int4"\nboundaries = [1, 3]',
        "job.toml:5: wire.boundaries = [1, 3]: must be evenly spaced and reach through all 64 layers; "
        "use [1, 2, 3, 4, 5, 6, 7, 8, ...]",
    ),
    (
        '[model]\nlayers = 1\n[wire]\ncodec = "int8/int4"',
        'job.toml:4: wire.codec = "int8/int4": one layer has no boundary that a lossy codec could apply at; use raw',
    ),
    (
        '[wire]\ncodec = "int8"\nboundaries = [4]\n[run]\nmin_stages = 3',
        "job.toml:5: run.min_stages = 3: the wire's boundaries make 2 groups of layers; use at most 2",
    ),
    (
        "[run]\nmax_stages = 9",
        "job.toml:2: run.max_stages = 9: a stage holds at least one of the 8 layers; use at most 8",
    ),
    ("[run]\nreplicas = 9", "job.toml:2: run.replicas = 9: must be from 1 to 8; use 8"),
    (
        '[run]\nreplicas = 2\n[numerics]\nsum = "ordered"',
        'job.toml:2: run.replicas = 2: needs sum = "exact": in another order, replicas would give other bits; use 1',
    ),
    (
        '[run]\nreplicas = 2\n[schedule]\nmode = "flow-async"',
        'job.toml:2: run.replicas = 2: needs steps that are not stale; use 1, or mode = "flow-sync"',
    ),
    (
        "[batch]\nmicro_batches = 6\n[averaging]\nreplicas = 4",
        "job.toml:2: batch.micro_batches = 6: must divide by the 4 replicas of [averaging]; use 4 or 8",
    ),
    (
        "[batch]\nmicro_batches = 2\n[averaging]\nreplicas = 3",
        "job.toml:2: batch.micro_batches = 2: must divide by the 3 replicas of [averaging]; use 3",
    ),
    (
        "[averaging]\nreplicas = 2\n[run]\nreplicas = 2",
        "job.toml:4: run.replicas = 2: replicas add their sums in every step, or train apart: not both; use 1",
    ),
    (
        '[averaging]\nreplicas = 2\n[schedule]\nmode = "flow-async"',
        "job.toml:2: averaging.replicas = 2: replicas that train apart have no stale steps; use 1, or remove "
        "async_after",
    ),
    (
        '[averaging]\nreplicas = 2\n[numerics]\nsum = "ordered"',
        'job.toml:2: averaging.replicas = 2: replicas that train apart need sum = "exact"; use 1',
    ),
    (
        "[batch]\nsequences = 8\n[averaging]\nreplicas = 2",
        "job.toml:2: batch.sequences = 8: is not cut for replicas that train apart; give micro_batch_size and "
        "micro_batches",
    ),
    ("[averaging]\nevery = 1", "job.toml:2: averaging.every = 1: must be from 2 to 10000; use 2"),
    (
        "[tokenizer]\nkind = 'file'",
        'job.toml:2: tokenizer.kind = "file": names no file; add file = "tokenizer.json"',
    ),
    (
        "[tokenizer]\nkind = 'bytes'\nfile = 'f'",
        'job.toml:3: tokenizer.file = "f": kind = "bytes" reads no file; remove one of them',
    ),
]

DATA_MISTAKES: list[tuple[str, str]] = [
    ("steps = 3", 'job.toml:1: data: names no text; give text = "FILE", jsonl = "FILE" or embedded = true'),
    (
        "steps = 3\n[data]",
        'job.toml:2: data: names no text; give text = "FILE", jsonl = "FILE" or embedded = true',
    ),
    (
        "[data]\nembedded = false",
        'job.toml:1: data: names no text; give text = "FILE", jsonl = "FILE" or embedded = true',
    ),
    ("data = 1", "job.toml:1: data = 1: must be a table; write [data] and its settings below it"),
    ("[data]\nembedded = 1", "job.toml:2: data.embedded = 1: must be true or false, without quotes"),
    (
        "[data]\ntext = []",
        "job.toml:2: data.text = []: must be a file or folder in quotes, or a list of them",
    ),
    (
        f"[data]\ntext = {['a'] * 1001}",
        'job.toml:2: data.text = ["a", "a", "a", "a", "a", "a", "a", "...: '
        "must be at most 1000 names; put the files in one folder and name that",
    ),
    (
        "[data]\ntext = ['a', 3]",
        'job.toml:2: data.text = ["a", 3]: must be a file or folder in quotes, or a list of them',
    ),
    (
        "[data]\ntext = 'a'\njsonl = 'b'",
        'job.toml:3: data.jsonl = ["b"]: a second source beside text; keep one of them',
    ),
    ("[data]\ntext = 'a'\nfield = 'b'", 'job.toml:3: data.field = "b": only jsonl has fields; remove it'),
]

SYNTAX: list[tuple[str, str]] = [
    ("", "job.toml:1: the file is empty; the shortest job is [data] with embedded = true"),
    (" \n\n", "job.toml:1: the file is empty; the shortest job is [data] with embedded = true"),
    (
        "seed = 1\nname = hello",
        'job.toml:2: not TOML: Invalid value; text needs "quotes", a list needs [brackets]',
    ),
    (
        "seed = 1\nsteps 300",
        "job.toml:2: not TOML: Expected '=' after a key in a key/value pair; "
        "a line is NAME = VALUE, [TABLE] or # COMMENT",
    ),
    ("= 3", "job.toml:1: not TOML: Invalid statement; a line is NAME = VALUE, [TABLE] or # COMMENT"),
    ("\n[model", "job.toml:2: not TOML: Expected ']' at the end of a table declaration"),
    ("seed = 1\nseed = 2", "job.toml:2: seed is already on line 1; keep one of them"),
    ("[model]\nlayers = 2\n[data]\n[model]", "job.toml:4: [model] is already on line 1; keep one of them"),
    ("[model]\nlayers = 2\n\nlayers = 3", "job.toml:4: model.layers is already on line 2; keep one of them"),
    ("x = " + "[" * 5000, "job.toml:1: brackets are nested too deep; a job has no such values"),
    ("\nseed = " + "9" * 5000, "job.toml:2: a number with thousands of digits; write a smaller one"),
    (
        "#" * (MAX_JOB_BYTES + 1),
        "job.toml:1: the text has 1048577 letters; a job file has at most 1048576",
    ),
]


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(JobFileError) as caught:
        parse_job(text, "job.toml")
    assert caught.value.exit_code == 2
    assert caught.value.hint == "correct job.toml and try again"
    return caught.value.problems


@pytest.mark.parametrize(("lines", "message"), MISTAKES)
def test_a_mistake_is_explained(lines: str, message: str) -> None:
    assert problems(lines + DATA) == (message,)


@pytest.mark.parametrize(("lines", "message"), DATA_MISTAKES)
def test_a_mistake_about_the_text_is_explained(lines: str, message: str) -> None:
    assert problems(lines) == (message,)


@pytest.mark.parametrize(("text", "message"), SYNTAX)
def test_a_file_that_is_not_toml_is_explained(text: str, message: str) -> None:
    assert problems(text) == (message,)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"seed = 1\n# caf\xe9", "job.toml:2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        ("seed = 1".encode("utf-16"), "job.toml:1: the file is UTF-16; save it as UTF-8"),
        (b" " * 1048577, "job.toml:1: the file has 1048577 bytes; a job file has at most 1048576"),
    ],
)
def test_bytes_that_are_no_text_are_explained(raw: bytes, message: str) -> None:
    with pytest.raises(JobFileError) as caught:
        decode_job(raw, "job.toml")
    assert caught.value.problems == (message,)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "steps = 0\nlr = 3\n[model]\nheads = 5\n[optimizer]\nwarmup_steps = 11\nlr = nan\nmin_lr = 0.1\n"
    assert problems(text) == (
        'job.toml:1: data: names no text; give text = "FILE", jsonl = "FILE" or embedded = true',
        "job.toml:1: steps = 0: must be from 1 to 10000000; use 1",
        "job.toml:2: lr = 3: no such setting; it belongs under [optimizer]",
        "job.toml:4: model.heads = 5: hidden (128) must divide by heads; use 4 or 8",
        "job.toml:7: optimizer.lr = nan: must be over 0 and at most 10; the default is 0.0015",
    )


def test_a_flood_of_mistakes_is_cut() -> None:
    found = problems("".join(f"x{n} = 1\n" for n in range(500)) + DATA)
    assert len(found) == 101
    assert found[-1] == "job.toml: and 400 more"


def test_lines_are_right_in_inline_tables_and_after_long_strings() -> None:
    text = 'name = """a\n[model]\nb"""\nbatch = {micro_batches = 0}\noptimizer.lr = 0\n' + DATA
    lines = [int(problem.split(":")[1]) for problem in problems(text)]
    assert lines == [1, 4, 5]
