"""A command for each scenario that has none of its own: its flags are the fields of the dataclass.

A flag takes what a plan takes: a quantity with its unit, a name of the zoo, a line, or a TOML table. The
fields of a field that is itself a scenario or a job stand beside the others under their own names.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.options import PRINTED, REQUIRED, Margin, Output, Replications, Simulated
from secondorder.cli.output import check_output, patience, show
from secondorder.cli.plan_files import plain_value

if TYPE_CHECKING:
    from secondorder.cli.fields import ShownField

OPTIONAL = Group("Optional", sort_key=2)
INNER = {
    "Serving": Group("Service (as in vLLM)", sort_key=3),
    "TrainingJob": Group("Job", sort_key=3),
    "Layout": Group("Layout", sort_key=4),
}
"""Where the flags stand that are not required: those of the fields of a field together."""
TIMES = Replications()


@dataclass(frozen=True)
class _Flag:
    """A flag, and the place of its field: ``("serving", "model")``."""

    field: "ShownField"
    path: tuple[str, ...]
    group: Group

    @property
    def member(self) -> tuple[Any, ...]:
        """Of the dataclass that holds a command's flags; without a default where the flag is due."""
        one = self.field
        shown = Parameter(
            group=REQUIRED if one.due else self.group,
            allow_leading_hyphen=True,
            help=one.text,
            metavar=None if one.choices else one.metavar,
            choices=one.choices or None,
            show_default=one.default or False,
        )
        if one.due:
            return one.name, Annotated[str, shown]
        return one.name, Annotated[str | None, shown], field(default=None)


def command(kind: type, title: str) -> Callable[..., None]:
    """The command of a kind of scenario."""
    from secondorder.simulate import CLOSED_FORMS_ONLY

    flags = {flag.field.name: flag for flag in _flags(kind, OPTIONAL)}
    space = {"__module__": __name__}  # else it passes for a type of the standard library
    members = [flag.member for flag in flags.values()]
    made = make_dataclass(f"{kind.__name__}Flags", members, frozen=True, kw_only=True, namespace=space)
    table = Parameter(name="*")(made)

    def closed(*, values: Any, out: Output = PRINTED) -> None:
        run(values=values, simulate=False, out=out)

    def run(
        *,
        values: Any,
        simulate: Simulated = True,
        margin: Margin = None,
        run: Replications = TIMES,
        out: Output = PRINTED,
    ) -> None:
        check_output(out)
        texts = {name: text for name in flags if (text := getattr(values, name)) is not None}
        _answer(read(kind, {flags[name].path: text for name, text in texts.items()}), simulate, margin, run, out)

    closed.__annotations__["values"] = run.__annotations__["values"] = table
    closed.__doc__ = run.__doc__ = title
    return closed if kind in CLOSED_FORMS_ONLY else run


def read(kind: type, texts: Mapping[tuple[str, ...], str]) -> Any:
    """The scenario whose fields are spelt by these texts."""
    from secondorder.cli.doors import Door
    from secondorder.errors import FileError, InputError

    nested: dict[str, Any] = {}
    for path, text in texts.items():
        inner = nested
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = plain_value(text)
    try:
        return Door().build(kind, nested)
    except FileError:
        raise
    except InputError as error:
        inside, own = {".".join(path[:-1]) for path in texts if len(path) > 1}, {each.name for each in fields(kind)}
        for prefix in sorted(inside, key=len, reverse=True):
            bare = error.what.removeprefix(f"{prefix}.")
            error.what = error.what if bare in own else bare  # its own would be meant
        raise


def _answer(scenario: Any, simulated: bool, margin: float | None, run: Replications, out: Output) -> None:
    from secondorder.analytic import solve
    from secondorder.simulate import can_simulate
    from secondorder.validation.comparison import compare

    if not (simulated and can_simulate(scenario)):
        show(solve(scenario), out)
        return
    with patience("simulating"):
        found = compare(scenario, margin=margin, **run.arguments)
    show(found, out)


def _flags(kind: type, group: Group, path: tuple[str, ...] = (), taken: Set[str] = frozenset()) -> Iterator[_Flag]:
    """A flag for each field; those of a field that is spelt by a table only stand in its place.

    Where the outer one has a field of that name too, the inner one is told by its place: serving_kv_precision.
    """
    from secondorder.cli.fields import shown_fields

    known = shown_fields(kind)
    for one in known.values():
        if one.table is not None:
            yield from _flags(one.table, INNER[one.table.__name__], (*path, one.name), taken | known.keys())
        elif not (path and one.name == "name"):
            shown = replace(one, name=f"{path[-1]}_{one.name}") if path and one.name in taken else one
            yield _Flag(shown, (*path, one.name), group)


COMMANDS: Mapping[str, tuple[str, str]] = {
    "data_loading": (
        "Storage, decoding workers and prefetching before an accelerator that must not wait.",
        '--batch-size 256 --sample-size "110 kB" --storage-bandwidth "2 GB/s"\n'
        '    --workers 6 --decode "exponential 300 ms" --prefetch 2 --step "exponential 50 ms"',
    ),
    "shared_cluster": (
        "Gangs of jobs that wait for accelerators: first come, backfilled, shortest first.",
        '--accelerators 64 --arrivals "6 job/hour" --sizes "1:0.5 8:0.4 32:0.1"\n'
        '    --duration "exponential 1 h" --policy easy',
    ),
    "topology": (
        "Switches, links, diameter and bisection of a network, and what these bound.",
        '--shape "leaf-spine leaves=8 hosts=16 spines=4"\n    --link-bandwidth "50 GB/s" --size "1 GB"',
    ),
    "ownership": (
        "What a fleet costs, owned or rented, at the work that a load gives it.",
        '--accelerator h100_sxm --accelerators 64 --purchase "30000 USD"\n'
        "    --server-overhead 1.4 --power-overhead 1.8 --pue 1.2 --maintenance 0.05\n"
        '    --electricity-price "0.12 USD/kWh" --service-life "4 year"\n'
        '    --horizon "3 year" --utilisation 0.5',
    ),
    "footprint": (
        "Energy, carbon and water of a fleet in a region.",
        "--accelerator h100_sxm --accelerators 64 --power-overhead 1.8\n"
        '    --utilisation 0.5 --horizon "1 year" --region poland --facility microsoft',
    ),
    "expert_routing": (
        "How unevenly a router deals tokens out to experts.",
        "--tokens 16 --experts 8 --top-k 2 --expert-parallel 8",
    ),
    "training_step": (
        "One step of a training job laid out on a cluster.",
        "--model gpt_3_175b --cluster opt_175b\n"
        "    --data-parallel 31 --tensor-parallel 8 --pipeline-parallel 4\n"
        "    --global-batch 1488 --sequence-length 2048",
    ),
    "scaling_law": (
        "How large a model and how many tokens a budget of compute is best spent on.",
        '--compute "5.76e23 FLOP" --fit besiroglu_2024',
    ),
    "reasoning": (
        "Sampling several answers, or until one is right: tokens, latency, cost, success.",
        '--strategy best_of --samples 16 --length "lognormal mean=2000 cv=1"\n'
        '    --prompt-tokens 500 --prefill "50 ms" --token-time "10 ms" --success 0.3',
    ),
    "inference": (
        "A model run batch by batch, its kernels launched ahead of the device.",
        "--model resnet50 --accelerator a100_80gb --batch-size 8\n"
        '    --precision fp16 --launch "exponential 5 us" --jitter exponential',
    ),
    "capacity": (
        "How many replicas a rate takes under objectives on p99, and what binds.",
        "--model llama_3_1_8b --accelerator h100_sxm\n"
        '    --arrivals "poisson 1 request/s" --lengths "input=1920 output=128"\n'
        '    --max-num-seqs 32 --rate "50 request/s" --e2el-p99 "5 s"',
    ),
    "speculative": (
        "Speculative decoding: a draft model proposes tokens, the model verifies them.",
        "--model llama_3_1_70b --accelerator h200 --tensor-parallel-size 2\n"
        '    --arrivals "poisson 0.2 request/s" --lengths "input=512 output=256"\n'
        "    --draft llama_3_1_8b --gamma 4 --acceptance 0.8",
    ),
    "disaggregated": (
        "Prefill and decoding on replicas of their own, the cache sent between them.",
        "--model llama_3_1_8b --accelerator h100_sxm\n"
        '    --arrivals "poisson 20 request/s" --lengths "input=2048 output=geometric 256"\n'
        '    --prefill-replicas 2 --decode-replicas 2 --link "50 GB/s latency=10 us"',
    ),
    "prefix_caching": (
        "What a share of prompt tokens that are cached already saves.",
        "--model llama_3_1_8b --accelerator h100_sxm\n"
        '    --arrivals "poisson 8 request/s" --lengths "input=2048 output=256"\n'
        "    --enable-prefix-caching true --hit-ratio 0.75",
    ),
    "chunked_prefill": (
        "The budget of tokens of a step: first tokens against gaps between tokens.",
        "--model llama_3_1_8b --accelerator h100_sxm --lengths azure_conv_2023\n"
        '    --arrivals "poisson 8 request/s" --max-num-batched-tokens 512 --itl "30 ms"',
    ),
    "quantisation": (
        "A service with its weights, arithmetic and cache at other precisions.",
        "--model llama_3_1_8b --accelerator h100_sxm\n"
        '    --arrivals "poisson 8 request/s" --lengths "input=1024 output=256"\n'
        "    --weight-precision int4 --compute-precision bf16",
    ),
    "inverse_roofline": (
        "What a part must have for an objective to be met, and which parts have it.",
        '--model llama_3_1_8b --precision bf16 --latency "10 ms"\n    --input-tokens 1 --context-tokens 2048',
    ),
    "compression": (
        "A forward pass before and after quantisation, pruning or distillation.",
        "--model llama_3_1_8b --accelerator h100_sxm --precision bf16\n"
        '    --method "quantised int4 group_size=128 head=bf16" --input-tokens 1',
    ),
    "private_training": (
        "What differential privacy costs a step of training.",
        "--model llama_3_1_8b --batch-size 8 --sequence-length 2048 --clipping ghost",
    ),
    "collective": (
        "A collective operation among ranks, hop by hop.",
        "--operation all_reduce --algorithm ring --ranks 64\n"
        '    --size "1 GB" --link "50 GB/s latency=5 us" --jitter "lognormal scv=0.04"',
    ),
    "pipeline": (
        "Microbatches through a pipeline, pass by pass.",
        '--stages 8 --microbatches 32 --forward "10 ms" --backward "20 ms"\n    --jitter "lognormal scv=0.09"',
    ),
}
"""Title and example of each command, which are shown before anything is imported."""


def __getattr__(name: str) -> Any:
    """The command of a kind of scenario, made when it is first asked for."""
    from secondorder.scenarios.scenario import SYSTEMS

    if name not in COMMANDS or name not in SYSTEMS:
        raise AttributeError(name)
    return command(SYSTEMS[name], COMMANDS[name][0])


def example_values(word: str) -> dict[str, str]:
    """What the example of a command gives its fields; nothing for a scenario whose command is not one of these."""
    words = shlex.split(COMMANDS[word][1]) if word in COMMANDS else []
    return {flag[2:].replace("-", "_"): text for flag, text in zip(words[::2], words[1::2], strict=True)}


def example(word: str) -> str:
    """What the help of a command shows at its end."""
    words = re.findall(r'--[\w-]+(?: (?:"[^"]*"|[^-\s]\S*))?', COMMANDS[word][1])
    lines = [f"  secondorder {word.replace('_', '-')}"]
    for each in words:
        if len(lines[-1]) + len(each) > 70:
            lines.append("   ")
        lines[-1] += f" {each}"
    return "Example:\n\n" + " \\\n".join(lines) + "\n"
