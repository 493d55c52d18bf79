"""Claims about reports, figures and timelines."""

import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest

import secondorder as so
from secondorder.cli import main
from secondorder.report.deployment import story_figure
from secondorder.report.figures import comparison_figure, figure_of
from secondorder.report.page import assumptions_of, plan_of, sources_of
from secondorder.report.style import inline_svg, save
from secondorder.report.timeline import trace_events
from secondorder.workloads.requests import Requests

HOSTILE = "<script>alert(1)</script>"
PLAN = """
[queue]
name = "<script>alert(1)</script>"
arrivals = "poisson 8 request/s"
service = "exponential 100 ms"
"""
FEW = "--num-prompts 4000 --replications 4 --seed 3"


class Tags(HTMLParser):
    """The tags of a page, what they refer to, and the text that is shown."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.references, self.text = set(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.references += [value for name, value in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def service():
    scenario = so.Serving(
        model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 4 request/s", lengths="azure_conv_2023"
    )
    return scenario, so.compare(scenario, seed=1, requests=400, replications=3)


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Run a command with a report; its page."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(PLAN)

    def made(line):
        assert main([*shlex.split(line), "--report", "folder"]) == 0
        return (tmp_path / "folder" / "index.html").read_text(encoding="utf-8")

    return made


# Reports


def test_a_hostile_name_is_shown_and_runs_nothing(report):
    page = report(f"compare plan.toml {FEW}")
    tags = Tags(page)
    assert "script" not in tags.tags
    assert HOSTILE not in page
    assert HOSTILE in "".join(tags.text)


def test_a_check_of_scripts_would_see_one():
    assert "script" in Tags(f"<h1>{HOSTILE}</h1>").tags


@pytest.mark.parametrize(
    "line",
    [
        f"compare plan.toml {FEW}",
        f'sweep plan.toml --vary "arrivals.rate=2 request/s,6 request/s,12 request/s" {FEW}',
        "validate --suite published",
        'train --failures "exponential 8240 s" --write "60 s" --restart "300 s" --work "10 day" --study interval '
        "--no-simulate",
        "reasoning",
    ],
)
def test_a_report_asks_nothing_of_the_network(report, line):
    if line == "reasoning":
        line = f"reasoning {so.systems.registry.SYSTEMS['reasoning'].example} --no-simulate"
    page = report(line)
    tags = Tags(page)
    assert all(reference.startswith("#") for reference in tags.references)
    assert not re.search(r"url\((?!#)|@import|<(iframe|object|embed|link|img)\b", page)
    assert "default-src 'none'" in page
    assert shlex.join(["secondorder", *shlex.split(line), "--report", "folder"]) in "".join(tags.text)
    assert so.__version__ in page


def test_a_report_tells_scenario_ladder_verdicts_figure_and_assumptions(report):
    page = report(f"compare plan.toml {FEW}")
    text = " ".join(Tags(page).text)
    for part in ("[queue]", "wait_p99", "order 2", "verdict on order", "Assumptions", "hold", "--seed 3"):
        assert part in text, part
    assert page.count("<svg") == 1


def test_assumptions_say_where_a_formula_is_outside_its_domain(service):
    _, comparison = service
    told = assumptions_of(comparison.solved)
    assert {each.outside for each in told} == {each.outside for each in comparison.solved.estimates}
    assert sum(each.metrics.count(",") + 1 for each in told) == len(comparison.solved.estimates)


def test_the_sources_of_a_service_name_its_datasheet(service):
    scenario, _ = service
    found = list(sources_of(scenario))
    assert any("h100" in each.lower() for each in found)
    assert any("llama" in each.lower() for each in found)


def test_a_report_into_a_file_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    (tmp_path / "plan.toml").write_text(PLAN)
    (tmp_path / "taken").write_text("")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "plan.toml", "--report", "taken"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# Figures


def test_a_figure_keeps_the_settings_of_its_caller(service):
    before = dict(matplotlib.rcParams)
    figure_of(*service)
    assert dict(matplotlib.rcParams) == before


def test_every_axis_of_a_figure_of_a_service_says_its_unit(service, tmp_path):
    _, comparison = service
    figure = comparison_figure(comparison)
    labels = [axes.get_xlabel() + axes.get_ylabel() for panel in figure.subfigs for axes in panel.axes]
    assert "closed form / simulated" in labels
    assert any("(s)" in label for label in labels)
    assert save(figure, tmp_path / "x.pdf").stat().st_size > 1000


def test_names_with_dollars_and_tags_are_drawn_as_they_are(service):
    _, comparison = service
    figure = comparison_figure(replace(comparison, scenario="a $x$ <b>"))
    assert "<b>" not in inline_svg(figure)


def test_the_legend_of_a_comparison_explains_the_marks_that_it_has_and_no_others():
    queue = so.Queue(arrivals="poisson 5 request/s", service="exponential 100 ms")
    found = so.compare(queue, seed=1)

    def legend(metrics):
        kept = tuple(each for each in found.solved.estimates if each.metric in metrics)
        (shown,) = comparison_figure(replace(found, solved=replace(found.solved, estimates=kept))).legends
        return [text.get_text().split(":")[0] for text in shown.get_texts()][1:]

    assert legend(["utilisation"]) == ["simulated, 95 % interval", "order 1"]
    assert legend(["utilisation", "wait_p99"])[1:] == ["order 0", "order 1", "order 2", "arrow"]


def test_the_figure_of_a_pipeline_marks_its_slow_stage():
    pipeline = so.Pipeline(stages=4, microbatches=8, forward="10 ms", backward="20 ms", slow_stages={"2": 1.5})
    (axes,) = figure_of(pipeline, so.solve(pipeline)).axes
    assert any(label.startswith("stage 2, the busiest") for label in axes.get_legend_handles_labels()[1])
    idle = float(re.search(r"([\d.]+) % of it idle", axes.get_xlabel())[1])
    step = so.simulate(pipeline).best("time_mean").amount
    assert idle == pytest.approx(100 * (1 - 8 * 0.03 * (3 + 1.5) / (4 * step)), abs=0.06)


def test_the_figure_of_a_ring_ends_when_the_collective_does():
    ring = so.Collective(ranks=4, size="1 GB", link="50 GB/s latency=5 us", slow_ranks={"1": 2.0})
    (axes,) = figure_of(ring, so.solve(ring)).axes
    shown = next(text.get_text() for text in axes.texts if "done last" in text.get_text())
    assert float(re.search(r"after ([\d.]+) ms", shown)[1]) == pytest.approx(
        1e3 * so.solve(ring).best("time_mean").amount, rel=0.006
    )


def test_a_figure_of_closed_forms_alone_is_refused_in_one_line(capsys):
    line = 'queue --arrivals "poisson 8 request/s" --service "exponential 100 ms" --no-simulate'
    assert main(shlex.split(line)) == 0
    with pytest.raises(so.InputError, match="closed forms alone"):
        figure_of(object(), so.solve(so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")))


# Timelines


def test_a_timeline_has_each_stay_once_and_no_two_at_once_on_a_track(service):
    _, comparison = service
    requests, series = comparison.simulated.requests, comparison.simulated.series
    events = json.loads(json.dumps(trace_events(requests, series)))["traceEvents"]
    stays = [each for each in events if each["name"].startswith("request ")]
    assert len(stays) == len(requests)
    assert sum(each["dur"] for each in stays) == pytest.approx(1e6 * requests["e2el"].sum())
    for track in {each["tid"] for each in stays}:
        mine = sorted((each["ts"], each["ts"] + each["dur"]) for each in stays if each["tid"] == track)
        assert all(end <= start * (1 + 1e-12) for (_, end), (start, _) in pairwise(mine))
    assert max(each["args"]["running"] for each in events if each["name"] == "running") == series["running"].max()


def test_a_scenario_that_no_plan_holds_is_told_by_the_fields_that_were_given(service):
    requests = Requests(arrival=np.arange(3.0), input_tokens=np.full(3, 9), output_tokens=np.full(3, 2))
    measured = so.MeasuredRoofline(memory_efficiency=0.7)
    given = replace(service[0], arrivals=so.Trace(name="run", requests=requests), lengths=None, step_time=measured)
    note, *told = plan_of(given).splitlines()
    assert note.startswith("(no plan file")
    assert told[:3] == ["model: Llama 3.1 8B", "accelerator: NVIDIA H100 SXM", "arrivals: run"]
    assert told[-1] == "step_time: MeasuredRoofline(memory_efficiency=0.7)"


def test_a_replica_that_a_fault_strikes_has_a_line_of_its_own_and_the_others_a_band(service):
    scenario = so.Deployment(serving=service[0], replicas=3, faults="kill 1 at=2 s restart=1 s")
    rows = [(replica, time, 1 + replica, 0) for time in (2.0, 4.0) for replica in range(3)]
    series = pd.DataFrame(rows, columns=["replica", "time", "running", "waiting"])
    requests = pd.DataFrame({"arrival": [0.5], "ttft": [0.1], "fate": ["served"]})
    above, _ = story_figure(scenario, so.Answer(scenario="d", estimates=(), requests=requests, series=series)).axes
    lines = {line.get_label(): line.get_ydata() for line in above.lines}
    assert set(lines["replica 1"]) == {2}
    assert set(lines["other replicas, mean"]) == {2}
    assert {text.get_text() for text in above.get_legend().texts} >= {"other replicas, all", "replica 1", "restart"}
