"""``secondorder train`` and training plans: what is printed, what a study shows, how it refuses what cannot be."""

import json
from pathlib import Path

import pytest
from cyclopts import Argument

import secondorder as so
from secondorder.answers.answer import COLUMNS
from secondorder.cli import app, main
from secondorder.cli.train import read_training, table_of
from secondorder.plans.fields import shown_fields
from secondorder.plans.read import read_plan
from secondorder.scenarios.training import AsyncCheckpoint, Training, TwoLevelCheckpoint, VerifiedCheckpoint
from secondorder.scenarios.training_step import TrainingStep
from secondorder.workloads.training import Layout, TrainingJob

RUN = ["train", "--failures", "exponential 8240 s", "--interval", "994 s", "--write", "60 s", "--restart", "300 s"]
SHORT = ["--replications", "4", "--duration", "5 day"]
ONE = ["train", "--failures", "exponential 3 h", "--interval", "20 min"]
MODEL = [
    "train",
    "--model",
    "llama_3_1_8b",
    "--cluster",
    "llama_3_16k",
    "--global-batch",
    "2048",
    "--sequence-length",
    "8192",
    "--interval",
    "30 min",
    "--restart",
    "300 s",
]

REFUSED = {
    "an interval below zero": ([*RUN[:3], "--interval", "-1 s", *RUN[5:]], 2, "interval: got -1 s"),
    "an interval of zero": ([*RUN[:3], "--interval", "0 s", *RUN[5:]], 2, "without checkpoints"),
    "an interval without a unit": ([*RUN[:3], "--interval", "994", *RUN[5:]], 2, 'write "994 s"'),
    "no restart": (RUN[:7], 2, "restart: got nothing"),
    "no interval": ([*RUN[:3], "--write", "60 s", "--restart", "300 s"], 2, "the best by closed form is 955 s"),
    "no write": ([*RUN[:5], *RUN[7:]], 2, "write: got none"),
    "no failures": (["train", "--interval", "1 h", "--write", "60 s", "--restart", "0 s"], 2, "failures: got none"),
    "spares without a repair": ([*RUN, "--spares", "4"], 2, "repair: got nothing"),
    "a repair without spares": ([*RUN, "--repair", "4 h"], 2, "repair: got repair without spares"),
    "a negative number of spares": ([*RUN, "--spares", "-1", "--repair", "4 h"], 2, "spares: got -1"),
    "a law that does not say of what": (
        ["train", "--failures", "weibull 3 h shape=0.7", *RUN[3:]],
        2,
        '"renewal weibull 3 h shape=0.7"',
    ),
    "an unknown law": (["train", "--failures", "weibul 3 h", *RUN[3:]], 2, "did you mean weibull?"),
    "unknown rates": (["train", "--failures", "llama", *RUN[3:]], 2, "did you mean llama_3"),
    "rates without a number": (["train", "--failures", "llama_3", *RUN[3:]], 2, "rates of one accelerator"),
    "two kinds of checkpoints": ([*RUN, "--pause", "1 s", "--every", "3"], 2, "async and two_level"),
    "a duration beside work": ([*RUN, "--duration", "1 day", "--work", "1 day"], 2, "work: got work with a duration"),
    "a picture of nothing": ([*RUN, "--no-simulate", "--figure", "x.png"], 2, "figure: got"),
    "spares study without spares": ([*RUN, "--study", "spares"], 2, "spares: got none"),
    "scaling study without a size": ([*RUN, "--study", "scaling"], 2, "accelerators: got nothing"),
    "a layout that does not divide the cluster": (
        [*MODEL, "--data-parallel", "1024", "--tensor-parallel", "8"],
        2,
        "16384",
    ),
    "a layout that does not fit": (
        [*MODEL[:2], "llama_3_1_405b", *MODEL[3:], "--data-parallel", "2048", "--tensor-parallel", "8"],
        3,
        "does not fit",
    ),
    "nodes of no cluster": ([*RUN, "--nodes", "64"], 2, "nodes: got nodes without a cluster"),
    "a storage that is not known": ([*RUN, "--storage", "tectonik_llama_3"], 2, "did you mean tectonic_llama_3"),
    "a schedule that is no choice": ([*MODEL, "--schedule", "1f2b"], 2, "schedule: got '1f2b', expected gpipe or 1f1b"),
    "a share above one": ([*RUN, "--margin", "2"], 2, "margin"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, code, expected = REFUSED[name]
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1, err
    assert expected in err, err


def test_a_comparison_is_a_table_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, *SHORT]) == 0
    out = capsys.readouterr().out
    assert "goodput" in out
    assert max(map(len, out.splitlines())) <= 80


def test_closed_forms_alone_need_no_simulation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--no-simulate", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert list(rows[0]) == list(COLUMNS)
    goodput = {row["order"]: row["value"] for row in rows if row["metric"] == "goodput"}
    assert goodput[1] == pytest.approx(1 - 60 / 994 - 994 / 2 / 8240 - 300 / 8240)
    assert goodput[2] == pytest.approx(0.8524, abs=5e-5)


@pytest.mark.parametrize("study", ["interval", "spares", "scaling"])
def test_a_study_is_printed_and_drawn(study: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = {
        "interval": [],
        "spares": ["--spares", "1", "--repair", "2 h"],
        "scaling": ["--accelerators", "1024", "--price", "2 USD/hour"],
    }[study]
    picture = tmp_path / f"{study}.png"
    assert main([*RUN, *SHORT, *extra, "--study", study, "--figure", str(picture)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "goodput" in out
    assert picture.stat().st_size > 10_000


def test_a_study_as_json_has_what_was_varied_in_front(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--study", "interval", "--no-simulate", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert list(rows[0]) == ["interval", *COLUMNS]


def test_a_drain_slower_than_the_interval_is_flagged(capsys: pytest.CaptureFixture[str]) -> None:
    slow = [*ONE[:3], "--interval", "2 min", "--pause", "2 s", "--drain", "5 min", "--restart", "300 s"]
    assert main([*slow, "--no-simulate"]) == 0
    assert "drain" in capsys.readouterr().out


def written(folder: Path, body: str) -> str:
    path = folder / "plan.toml"
    path.write_text(body)
    return str(path)


BODIES = {
    '{ kind = "async", interval = "20 min", pause = "2 s", drain = "3 min" }': AsyncCheckpoint(
        interval="20 min", pause="2 s", drain="3 min"
    ),
    '"async 20 min pause=2 s drain=3 min"': AsyncCheckpoint(interval="20 min", pause="2 s", drain="3 min"),
    '"two_level 5 min write=2 s every=6 durable_write=60 s light_share=0.8 light_restart=30 s"': TwoLevelCheckpoint(
        interval="5 min", write="2 s", every=6, durable_write="60 s", light_share=0.8, light_restart="30 s"
    ),
    '"verified 20 min verify=5 s silent_mtbf=9 h write=1 min"': VerifiedCheckpoint(
        interval="20 min", verify="5 s", silent_mtbf="9 h", write="60 s"
    ),
}


@pytest.mark.parametrize("checkpoint", BODIES)
def test_a_plan_spells_every_checkpoint(checkpoint: str, tmp_path: Path) -> None:
    plan = written(tmp_path, f'[training]\nfailures = "exponential 3 h"\ncheckpoint = {checkpoint}\n')
    assert read_plan(plan).one() == Training(failures="exponential 3 h", checkpoint=BODIES[checkpoint])


def test_a_plan_spells_failures_recovery_and_spares(tmp_path: Path) -> None:
    plan = written(
        tmp_path,
        """\
[training]
failures = { kind = "stationary", lifetime = "weibull 6000 h shape=0.7", nodes = 2048 }
checkpoint = "blocking 30 min write=60 s"
recovery = "300 s detection=30 s"
spares = { count = 4, repair = "lognormal 8 h scv=1", crews = 2 }
step = "lognormal 4 s scv=0.01"
duration = "10 day"
""",
    )
    assert read_plan(plan).one() == so.Training(
        failures="stationary 2048 weibull 6000 h shape=0.7",
        checkpoint=so.Checkpoint(interval="30 min", write="60 s"),
        recovery=so.Recovery(restart="300 s", detection="30 s"),
        spares=so.Spares(count=4, repair="lognormal 8 h scv=1", crews=2),
        step="lognormal 4 s scv=0.01",
        duration="10 day",
    )


def test_a_plan_spells_collectives_and_pipelines(tmp_path: Path) -> None:
    ring = written(
        tmp_path,
        """\
[collective]
operation = "all_reduce"
algorithm = "ring"
ranks = 64
size = "1 GB"
link = "50 GB/s latency=5 us"
jitter = "lognormal scv=0.04"
slow_links = { 3 = 2.0 }
""",
    )
    link = so.Link(bandwidth="50 GB/s", latency="5 us")
    assert read_plan(ring).one() == so.Collective(
        operation="all_reduce",
        algorithm="ring",
        ranks=64,
        size="1 GB",
        link=link,
        jitter="lognormal scv=0.04",
        slow_links={3: 2.0},
    )
    pipe = written(tmp_path, '[pipeline]\nstages = 8\nmicrobatches = 32\nforward = "10 ms"\nbackward = "20 ms"\n')
    assert read_plan(pipe).one() == so.Pipeline(stages=8, microbatches=32, forward="10 ms", backward="20 ms")


def test_a_sweep_reaches_into_a_training_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = written(
        tmp_path,
        '[training]\nfailures = "exponential 3 h"\ncheckpoint = "blocking 30 min write=60 s"\nduration = "5 day"\n',
    )
    vary = ["--vary", "checkpoint.interval=10 min,20 min", "--replications", "3", "--format", "csv"]
    assert main(["sweep", plan, *vary]) == 0
    assert "goodput" in capsys.readouterr().out


def test_the_cluster_may_have_other_nodes_and_the_checkpoints_another_storage() -> None:
    step = {"model": "llama_3_1_8b", "cluster": "llama_3_16k", "global_batch": "512", "data_parallel": "512"}
    where = {"interval": "30 min", "storage": "superpod_good", "restart": "0 s"}
    table = table_of({**step, "sequence_length": "8192", "nodes": "64", **where})
    assert table["checkpoint"] == {"kind": "blocking", "interval": "30 min"}
    run = read_training(table)
    assert isinstance(run.step, so.TrainingStep)
    assert (run.step.cluster.nodes, run.step.cluster.accelerators) == (64, 512)
    assert run.write_seconds == pytest.approx(14 * run.step.job.model.parameters / 30e9)  # weights and optimiser


def test_nodes_and_storage_reach_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    small = [*MODEL, "--nodes", "64", "--data-parallel", "512", "--no-simulate", "--format", "json"]
    found = []
    for storage in ("superpod_good", "superpod_best"):
        assert main([*small, "--storage", storage]) == 0
        rows = json.loads(capsys.readouterr().out)
        found.append(next(row["value"] for row in rows if row["metric"] == "goodput" and row["order"] == 1))
    assert found[0] < found[1] < 1


SHOWN = {**shown_fields(TrainingStep), **shown_fields(TrainingJob), **shown_fields(Layout)}


@pytest.mark.parametrize("flag", [each for each in app["train"].assemble_argument_collection() if not each.children])
def test_the_help_shows_the_defaults_and_choices_of_the_step(flag: Argument) -> None:
    one = SHOWN.get(flag.name.lstrip("-").replace("-", "_"))
    if one is not None and one.default is not None:
        assert flag.show_default == one.default
    if one is not None and one.choices:
        assert flag.get_choices() == one.choices


def test_a_study_judges_by_the_stated_margin(capsys: pytest.CaptureFixture[str]) -> None:
    study = [*RUN[:3], *RUN[5:], "--duration", "2 day", "--replications", "4", "--study", "interval"]
    verdicts = []
    for margin in ("0.9", "0.0001"):
        assert main([*study, "--margin", margin, "--format", "json"]) == 0
        verdicts.append({row["verdict"] for row in json.loads(capsys.readouterr().out) if row["verdict"]})
    assert "agrees" in verdicts[0]
    assert "agrees" not in verdicts[1]
    assert main([*study, "--margin", "0.9"]) == 0
    assert "within 90 %" in capsys.readouterr().out


def test_study_is_train_with_a_study(capsys) -> None:
    flags = ["--failures", "exponential 8240 s", "--write", "60 s", "--restart", "300 s", "--no-simulate"]
    assert main(["study", "interval", *flags]) == 0
    by_study = capsys.readouterr().out
    assert main(["train", *flags, "--study", "interval"]) == 0
    assert capsys.readouterr().out == by_study
    assert main(["train", *flags, "--interval", "20 min", "--store", "x.db"]) == 2
    assert "store: got one without a study" in capsys.readouterr().err


def test_the_address_of_a_scheduler_is_no_cluster_of_nodes(capsys, monkeypatch):
    """``--cluster tcp://...`` reaches dask as it does for a sweep; nobody listens at port 1."""
    monkeypatch.setattr("secondorder.executor.REACH", "1s")
    pytest.importorskip("distributed")
    flags = ["--failures", "exponential 3 h", "--write", "60 s", "--restart", "300 s", "--replications", "2"]
    for given in (["--cluster", "tcp://127.0.0.1:1"], ["--scheduler", "tcp://127.0.0.1:1"]):
        assert main(["study", "interval", *flags, *given]) == 2
        assert "cluster: got tcp://127.0.0.1:1, expected the address of a dask scheduler" in capsys.readouterr().err
        assert main(["train", "--interval", "30 min", *flags, *given]) == 2
        assert "scheduler: got one without a study" in capsys.readouterr().err
