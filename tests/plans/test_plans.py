"""Plan files: every spelling of a scenario gives the same one, and a mistake is named by its key."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import secondorder as so
from secondorder.cli import serve
from secondorder.errors import InputError, SecondOrderError
from secondorder.plans.read import read_plan
from secondorder.plans.tables import Tables
from secondorder.scenarios.serving import Serving

BASE: dict[str, Any] = {
    "model": "llama_3_1_8b",
    "accelerator": "h100_sxm",
    "arrivals": "poisson 8 request/s",
    "lengths": "azure_conv_2023",
}
SCENARIO = so.Serving(
    model=so.models.llama_3_1_8b,
    accelerator=so.accelerators.h100_sxm,
    arrivals=so.Poisson("8 request/s"),
    lengths=so.lengths.azure_conv_2023,
)
HEAD = 'model = "llama_3_1_8b"\naccelerator = "h100_sxm"\n'


def written(folder: Path, body: str) -> str:
    """A plan file whose table [serving] has this body."""
    path = folder / "plan.toml"
    path.write_text(f"[serving]\n{body}")
    return str(path)


def test_a_plan_is_the_dataclass(tmp_path: Path) -> None:
    plan = written(
        tmp_path,
        HEAD
        + """\
precision = "fp8"
max_num_seqs = 128
gpu_memory_utilization = 0.8
reserved_memory = "3 GiB"
enable_prefix_caching = true
goodput = { ttft = "200 ms", tpot = "50 ms" }
step_time = { kind = "roofline", memory_efficiency = 0.9, host_overhead = "2 ms" }
name = "chat"

[serving.arrivals]
kind = "gamma"
rate = "480 request/min"
burstiness = 0.5

[serving.lengths]
input = { kind = "lognormal", mean = 512, cv = 1.2 }
output = "geometric 256 maximum=1024"
""",
    )
    assert read_plan(plan).one() == so.Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        precision="fp8",
        max_num_seqs=128,
        gpu_memory_utilization=0.8,
        reserved_memory="3 GiB",
        enable_prefix_caching=True,
        goodput={"ttft": "200 ms", "tpot": "50 ms"},
        step_time=so.Roofline(memory_efficiency=0.9, host_overhead="2 ms"),
        name="chat",
        arrivals=so.Gamma("8 request/s", burstiness=0.5),
        lengths=so.Lengths(input=so.LogNormal(512, cv=1.2), output=so.Geometric(256, maximum=1024)),
    )


def test_flags_and_plans_spell_the_same_scenario() -> None:
    where = {"model": "llama_3_1_8b", "accelerator": "h100_sxm"}
    alias = {**where, "request_rate": "8 request/s", "lengths": "azure_conv_2023"}
    assert serve.read(alias) == serve.read({**where, **BASE}) == Tables().build(Serving, BASE) == SCENARIO


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("arrivals", {"kind": "poisson", "rate": "8 request/s"}, so.Poisson("8 request/s")),
        ("arrivals", "deterministic 2 request/s", so.Deterministic("2 request/s")),
        (
            "arrivals",
            {
                "kind": "markov",
                "rate_1": "1 request/s",
                "rate_2": "9 request/s",
                "sojourn_1": "1 min",
                "sojourn_2": "9 s",
            },
            so.MarkovModulated(rate_1="1 request/s", rate_2="9 request/s", sojourn_1="60 s", sojourn_2="9 s"),
        ),
        ("lengths", "input=64 output=uniform 1 high=9", so.Lengths(input=64, output=so.Uniform(1, 9))),
        ("lengths", {"input": 64, "output": {"kind": "fixed", "tokens": 9}}, so.Lengths(input=64, output=9)),
        ("step_time", "roofline", so.Roofline()),
        ("step_time", "roofline 0.5 host_overhead=2 ms", so.Roofline(compute_efficiency=0.5, host_overhead="2 ms")),
        (
            "step_time",
            {"kind": "affine", "per_step": 0.01, "per_prefill_token": 1e-5, "per_decode": 1e-5},
            so.Affine(per_step=0.01, per_prefill_token=1e-5, per_decode=1e-5),
        ),
        (
            "accelerator",
            {"like": "h100_sxm", "link_bandwidth": "100 GB/s"},
            replace(so.accelerators.h100_sxm, link_bandwidth="100 GB/s"),
        ),
        ("model", {"like": "llama_3_1_8b", "layers": 16}, replace(so.models.llama_3_1_8b, layers=16)),
    ],
)
def test_a_field_may_be_spelled_as_text_or_as_a_table(key: str, value: Any, expected: Any) -> None:
    assert Tables().build(Serving, {**BASE, key: value}) == replace(SCENARIO, **{key: expected})


def test_a_whole_model_and_a_whole_accelerator_may_be_tables() -> None:
    model = {
        "name": "small",
        "layers": 2,
        "hidden": 64,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 16,
        "intermediate": 128,
        "vocab": 1000,
        "max_context": 9000,
        "experts": {"count": 4, "top_k": 2, "intermediate": 32},
    }
    device = {
        "name": "mine",
        "vendor": "us",
        "released": 2025,
        "peak": {"bf16": "1 PFLOP/s"},
        "memory_bandwidth": "1 TB/s",
        "memory_capacity": "16 GiB",
        "power": "100 W",
    }
    scenario = Tables().build(Serving, {**BASE, "model": model, "accelerator": device})
    assert scenario.model.experts is not None
    assert scenario.model.experts.top_k == 2
    assert scenario.accelerator.peak_flops("bf16") == 1e15


def test_a_trace_is_found_beside_the_plan(tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:17:{second:02},512,16\n" for second in range(11))
    (tmp_path / "trace.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)
    (tmp_path / "other.csv").write_text("t,in,out\n0,1,2\n500,3,4\n")
    whole = read_plan(written(tmp_path, HEAD + 'arrivals = "trace.csv"\n')).one()
    faster = read_plan(
        written(tmp_path, HEAD + 'arrivals = { kind = "trace", file = "trace.csv", rate = "4 request/s" }\n')
    ).one()
    assert (whole.rate, faster.rate) == (pytest.approx(1), pytest.approx(4))
    drawn = read_plan(written(tmp_path, HEAD + 'arrivals = "poisson 8 request/s"\nlengths = "trace.csv"\n')).one()
    assert drawn.offered.mean_input == 512
    columns = '{ arrival = "t", input_tokens = "in", output_tokens = "out" }'
    named = f'arrivals = {{ kind = "trace", file = "other.csv", arrival_unit = "ms", columns = {columns} }}\n'
    assert read_plan(written(tmp_path, HEAD + named)).one().rate == pytest.approx(2)


# Mistakes

REST = HEAD + 'lengths = "azure_conv_2023"\n'
MISTAKES = {
    'arrivals = { kind = "poisson", rate = 8 }': (
        "serving.arrivals.rate: got 8 without a unit, expected a quantity in request/s",
        'write "8 request/s"',
    ),
    'arrivals = "poisson 8"': ("serving.arrivals.rate: got 8", "without a unit"),
    'arrivals = "poisson 8 s"': ("serving.arrivals.rate: got 8 s (time)", "a quantity in request/s"),
    'arrivals = { rate = "8 request/s" }': ("serving.arrivals.kind: got nothing", "expected poisson or gamma"),
    'arrivals = { kind = "gama", rate = "8 request/s" }': ("serving.arrivals.kind: got 'gama'", "did you mean gamma"),
    'arrivals = { kind = "poisson", rat = "8 request/s" }': (
        "serving.arrivals.rat: got an unknown key",
        "did you mean rate?",
    ),
    "arrivals = { kind = 3 }": ("serving.arrivals.kind: got 3", "expected poisson or gamma"),
    "arrivals = 8": ("serving.arrivals: got 8", 'expected "poisson 8 request/s"'),
    "": ("serving.arrivals: got nothing", 'expected "poisson 8 request/s"'),
    'arrivals = { kind = "trace" }': ("serving.arrivals.file: got nothing", "expected the file of a trace"),
    'arrivals = { kind = "trace", file = "t.csv", hash_block = "x" }': (
        "serving.arrivals.hash_block: got 'x'",
        "an integer",
    ),
    'arivals = "poisson 8 request/s"': ("serving.arivals: got an unknown key", "did you mean arrivals?"),
}
SET = 'arrivals = "poisson 8 request/s"\n'
MISTAKES_ELSEWHERE = {
    'max_num_seqs = "5"': ("serving.max_num_seqs: got '5'", "an integer of at least 1"),
    "max_num_seqs = nan": ("serving.max_num_seqs: got nan", "an integer of at least 1"),
    "max_num_seqs = [1]": ("serving.max_num_seqs: got [1]", "an integer of at least 1"),
    "max_num_seqs = true": ("serving.max_num_seqs: got True", "an integer of at least 1"),
    "enable_prefix_caching = 1": ("serving.enable_prefix_caching: got 1", "expected true or false"),
    "reserved_memory = 3": ("serving.reserved_memory: got 3 without a unit", "a quantity in byte"),
    'reserved_memory = "3 s"': ("serving.reserved_memory: got 3 s (time)", "a quantity in byte"),
    "goodput = 3": ("serving.goodput: got 3", "expected a table"),
    "goodput = { ttft = 200 }": ("serving.goodput.ttft: got 200 without a unit", "a quantity in s"),
    'goodput = { tfft = "1 s" }': ("serving.goodput: got 'tfft'", "did you mean ttft"),
    "name = 3": ("serving.name: got 3", "expected a string"),
    'step_time = "rofline"': ("serving.step_time: got 'rofline'", "did you mean roofline"),
    'step_time = { kind = "affine" }': ("serving.step_time.per_step: got nothing", "expected a number"),
    'step_time = { kind = "roofline", memory_efficiency = 2 }': (
        "serving.step_time.memory_efficiency: got 2",
        "at most 1",
    ),
    'precision = "fp4"': ("serving.precision of NVIDIA H100 SXM: got 'fp4'", "expected fp64"),
    "tensor_parallel_size = 0": ("serving.tensor_parallel_size: got 0", "an integer of at least 1"),
}


@pytest.mark.parametrize(
    ("line", "said"), [*MISTAKES.items(), *((SET + line, said) for line, said in MISTAKES_ELSEWHERE.items())]
)
def test_a_mistake_is_named_by_its_key(line: str, said: tuple[str, str], tmp_path: Path) -> None:
    plan = written(tmp_path, f"{REST}{line}\n")
    with pytest.raises(InputError) as refused:
        read_plan(plan).one()
    message = str(refused.value)
    assert message.startswith(f"{plan}: {said[0]}")
    assert said[1] in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("accelerator", "h100_sxmm", "accelerator: got 'h100_sxmm', expected one of "),
        ("accelerator", {"like": "h100"}, "accelerator.like: got 'h100'"),
        ("accelerator", {"like": "h100_sxm", "powr": "1 W"}, "accelerator.powr: got an unknown key"),
        ("accelerator", {"like": "h100_sxm", "power": 700}, "accelerator.power: got 700 without a unit"),
        ("accelerator", {"name": "mine"}, "accelerator.vendor: got nothing"),
        ("model", None, "model: got nothing, expected a name such as llama_3_1_8b"),
        (
            "model",
            {"like": "llama_3_1_8b", "experts": {"count": 4, "top_k": 8, "intermediate": 9}},
            "model.experts.top_k",
        ),
        ("lengths", "azure_conv", "lengths: got 'azure_conv', expected a name"),
        ("lengths", {"input": 64}, "lengths.output: got nothing, expected an integer"),
        ("lengths", {"input": 64, "output": 0}, "lengths.output.tokens: got 0"),
        ("lengths", {"input": 64, "output": {"kind": "geometric", "men": 3}}, "lengths.output.men: got an unknown key"),
        ("lengths", 64, "lengths: got 64, expected a name"),
    ],
)
def test_a_mistake_inside_a_field_is_named_from_the_outside(key: str, value: Any, said: str) -> None:
    table = {name: given for name, given in {**BASE, key: value}.items() if given is not None}
    with pytest.raises(SecondOrderError) as refused:
        Tables().build(Serving, table)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[servin]\n", "plan.toml: table: got 'servin', expected one of "),
        ("serving = 3\n", "plan.toml: serving: got 3, expected a table [serving]"),
        ("[serving]\n", "plan.toml: serving.model: got nothing"),
    ],
)
def test_a_plan_names_its_system(text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text(text)
    with pytest.raises(InputError) as refused:
        read_plan("plan.toml").one()
    assert str(refused.value).startswith(said)


def test_bytes_that_are_no_text_are_no_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"got text that is not TOML \("):
        read_plan(str(tmp_path / "plan.toml")).one()
