"""Rows of the shared sample with prefill and decode apart, as scenarios of the project."""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from silicon import DRAWN, ENGINES, MODELS, SYSTEMS, stored_as

import secondorder as so
from secondorder.errors import SecondOrderError
from secondorder.scenarios.pool import Pool
from secondorder.validation.fixed_concurrency import FRONT_ENDS
from secondorder.workloads.lengths import Lengths

if TYPE_CHECKING:
    import pandas as pd

DATA = Path(__file__).parents[2] / "shared" / "data" / "silicon_disaggregated.csv"
RECIPES = Path(__file__).parent / "split_recipes.csv"
NOMINAL = (1024, 8192)
"""Lengths of rows whose lengths were drawn from ``DRAWN`` of them to all of them."""
CACHE = {"tensorrt-llm": "fp8"}
"""Precision of the cache by the recipes; the model's own for the other engines."""
PROMPT_TOKENS = 8192
"""Prompt tokens of a rank's step (recipes: 2,048 to 65,536)."""
LINK = "400 GB/s latency=1 ms"
"""Eight links of 400 Gbit/s of a node."""
INTERVALS = {("b200_sxm", "trtllm"): 20, ("b300_sxm", "trtllm"): 20, ("trtllm",): 100, ("sglang",): 10}
"""Steps from one message to the next, by the recipes of H100, H200, B200 and GB200; B300 is taken as B200."""


class Layout(NamedTuple):
    """Replicas of a kind: how many, and ``tp8``, ``tep8``, ``dp8`` or ``dep8``; ``batch`` sequences a rank."""

    replicas: int
    kind: str
    batch: int | None = None

    @property
    def ranks(self) -> int:
        return self.width if self.kind.startswith("d") else 1

    @property
    def width(self) -> int:
        return int(re.sub("[a-z]", "", self.kind))

    def pool(self, experts: bool) -> Pool:
        """Ranks and whole experts exist of models with experts alone."""
        ranks = self.ranks if experts else 1
        return Pool(
            tensor_parallel_size=self.width // ranks,
            data_parallel_size=ranks,
            enable_expert_parallel=experts and "ep" in self.kind,
            max_num_seqs=self.batch,
            max_num_batched_tokens=PROMPT_TOKENS,
        )


class Setting(NamedTuple):
    """What was measured: the row's own columns, and its layout by the row or by a published recipe."""

    system: str
    engine: str
    model: str
    precision: str
    input: int
    output: int
    users: int
    prefill: Layout
    decode: Layout
    drafted: int


@dataclass(frozen=True)
class Split:
    """A row: its setting, medians in s, and how its layout is known (stated, recipe, matched, nearest)."""

    setting: Setting
    ttft: float
    tpot: float
    known: str


def read(path: Path = DATA) -> tuple[list[Split], dict[str, int]]:
    """The rows that the project can state, and how many it cannot, by reason."""
    import pandas as pd

    rows, refused = list[Split](), dict[str, int]()
    for row in pd.read_csv(path).itertuples():
        try:
            rows.append(_split(row))
        except (SecondOrderError, StopIteration) as error:
            reason = str(error) or f"no model like {row.model}"
            refused[reason] = refused.get(reason, 0) + 1
    return rows, refused


def _split(row: "pd.Series[float]") -> Split:
    found, known = _settings(row)
    if len(found) > 1:
        found = [min(found, key=lambda each: abs(math.log(predicted(each).tpot * 1e3 / row.median_tpot_ms)))]
    return Split(found[0], row.median_ttft_ms / 1e3, row.median_tpot_ms / 1e3, known)


def _settings(row: "pd.Series[float]") -> tuple[list[Setting], str]:
    """Those that the row may have: one, unless several recipes have its columns."""
    recipes = [recipe for recipe in _recipes() if _fits(recipe, row)]
    if row.prefill_workers == row.prefill_workers:  # a number: the row states its workers
        own = _own(row)
        same = [r for r in recipes if _workers(r) == _workers(own) and not r.drafted]
        return [replace_model(same[0], own.model) if same else own], "stated"
    if recipes:
        return [replace_model(r, _model(row)) for r in recipes], "recipe" if len(recipes) == 1 else "matched"
    return [nearest(row, _recipes())], "nearest"


def nearest(row: "pd.Series[float]", recipes: Sequence[Setting]) -> Setting:
    """The row's columns with the workers of the nearest recipe, which are as wide as the row says."""
    near = min(recipes, key=lambda recipe: _distance(recipe, row))

    def wide(kind: str, layout: Layout) -> Layout:
        width = getattr(row, f"{kind}_tensor_parallel_size") * getattr(row, f"{kind}_attention_data_parallel_size")
        return layout._replace(kind=f"{layout.kind.rstrip('0123456789')}{int(width)}")

    return Setting(
        system=row.system,
        engine=row.engine,
        model=_model(row),
        precision=row.gemm_precision,
        input=int(row.input_len),
        output=int(row.output_len),
        users=_users(row, near),
        prefill=wide("prefill", near.prefill),
        decode=wide("decode", near.decode),
        drafted=near.drafted,
    )


def replace_model(setting: Setting, model: str) -> Setting:
    return setting._replace(model=model)


def _model(row: "pd.Series[float]") -> str:
    return next(zoo for part, zoo in MODELS.items() if part in row.model.lower())


def _users(row: "pd.Series[float]", setting: Setting) -> int:
    """As stated, or one for each place."""
    if row.max_concurrency == row.max_concurrency:
        return int(row.max_concurrency)
    return setting.decode.replicas * setting.decode.ranks * (setting.decode.batch or 1)


def _fits(recipe: Setting, row: "pd.Series[float]") -> bool:
    columns = (row.system, row.engine, row.gemm_precision, row.input_len, row.output_len, row.max_concurrency)
    if recipe[:2] + recipe[3:7] != columns or _model(row) != recipe.model:
        return False
    spread = row.decode_moe_expert_parallel_size > 1  # SGLang's columns tell its layouts apart, others' do not
    return row.engine != "sglang" or spread == recipe.decode.kind.startswith("dep")


def _distance(recipe: Setting, row: "pd.Series[float]") -> tuple[float, ...]:
    """How far a recipe is from a row without one: engine, then lengths, then precision, then users."""
    users = row.max_concurrency if row.max_concurrency == row.max_concurrency else recipe.users
    return (
        recipe.engine != row.engine,
        abs(math.log(recipe.input / row.input_len)) + abs(math.log(recipe.output / row.output_len)),
        recipe.system != row.system,
        recipe.precision != row.gemm_precision,
        recipe.drafted > 0,
        abs(math.log(recipe.users / users)),
    )


def _workers(setting: Setting) -> tuple[int, int, bool]:
    return setting.prefill.replicas, setting.decode.replicas, setting.decode.ranks > 1


def _own(row: "pd.Series[float]") -> Setting:
    """By the row's columns alone."""

    def layout(kind: str, batch: int | None = None) -> Layout:
        ranks = int(getattr(row, f"{kind}_attention_data_parallel_size"))
        spread = "e" * (getattr(row, f"{kind}_moe_expert_parallel_size") > 1)
        width = int(getattr(row, f"{kind}_tensor_parallel_size")) * ranks
        word = f"d{spread}p" if ranks > 1 else f"t{spread}p"
        return Layout(int(getattr(row, f"{kind}_workers")), f"{word}{width}", batch)

    setting = Setting(
        system=row.system,
        engine=row.engine,
        model=_model(row),
        precision=row.gemm_precision,
        input=int(row.input_len),
        output=int(row.output_len),
        users=0,
        prefill=layout("prefill"),
        decode=layout("decode", int(row.decode_batch_size)),
        drafted=0,
    )
    return setting._replace(users=_users(row, setting))


@cache
def _recipes() -> tuple[Setting, ...]:
    with RECIPES.open() as file:
        return tuple(each for row in csv.DictReader(file) for each in _of_recipe(row))


def _of_recipe(row: Mapping[str, str]) -> Iterator[Setting]:
    for users in row["users"].split():
        yield Setting(
            system=row["system"],
            engine=row["engine"],
            model="deepseek_v3",
            precision=row["precision"],
            input=int(row["input"]),
            output=int(row["output"]),
            users=int(users),
            prefill=Layout(int(row["prefill_workers"]), row["prefill_layout"]),
            decode=Layout(int(row["decode_workers"]), row["decode_layout"], int(row["decode_batch"])),
            drafted=int(row["drafted"]),
        )


# As a scenario


@dataclass(frozen=True)
class Constants:
    """What was fitted on these rows."""

    acceptance: float = so.Disaggregated.acceptance
    network_latency: float = 73e-6
    network_bandwidth: float = 62e9
    prefill_grouped: float = 0.28


PUBLISHED = Constants()


class Predicted(NamedTuple):
    ttft: float
    tpot: float


@cache
def predicted(setting: Setting, constants: Constants = PUBLISHED) -> Predicted:
    """Medians of one simulated run of ten requests a user."""
    from secondorder.simulate.disaggregated_loop import medians

    return Predicted(*medians(scenario(setting, constants)))


def scenario(setting: Setting, constants: Constants = PUBLISHED) -> so.Disaggregated:
    """The product's own scenario of a row."""
    model, precision = stored_as(setting.model, setting.precision)
    engine = ENGINES[setting.engine]
    experts = bool(model.counted.choices)
    step_time = so.MeasuredRoofline(
        engine=engine,
        network_latency=f"{constants.network_latency} s",
        network_bandwidth=f"{constants.network_bandwidth} byte/s",
        prefill_grouped_efficiency=constants.prefill_grouped,
    )
    base = setting.decode.pool(experts)
    serving = so.Serving(
        model=model,
        accelerator=so.accelerators[SYSTEMS.get(setting.system, setting.system)],
        arrivals=so.Poisson("1 request/s"),
        lengths=Lengths(input=_drawn(setting.input), output=_drawn(setting.output)),
        precision=precision,
        kv_precision=CACHE.get(engine),
        step_time=step_time,
        gpu_memory_utilization=0.92,
        reserved_memory="1.5 GiB",
        **base.given,
    )
    interval = INTERVALS.get((setting.system, setting.engine), INTERVALS.get((setting.engine,), 1))
    return so.Disaggregated(
        serving=serving,
        prefill_replicas=setting.prefill.replicas,
        decode_replicas=setting.decode.replicas,
        link=LINK,
        prefill_pool=replace(setting.prefill.pool(experts), max_num_seqs=256),
        decode_pool=base,
        users=setting.users,
        draft_tokens=setting.drafted,
        acceptance=constants.acceptance,
        stream_interval=interval,
        front_end=FRONT_ENDS[engine].steps,
    )


def _drawn(nominal: int) -> str | int:
    return f"uniform {math.ceil(DRAWN * nominal)} high={nominal}" if nominal in NOMINAL else nominal
