"""``secondorder serve``: an LLM service from flags, solved, simulated and compared."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.options import PRINTED, REQUIRED, USUAL, Margin, Output, Run, Simulated, plain
from secondorder.cli.output import check_output, patience, show
from secondorder.errors import FileError, InputError

if TYPE_CHECKING:
    from secondorder.scenarios.serving import Serving

EXAMPLE = """\
Examples:

  secondorder serve --model llama_3_1_8b --accelerator h100_sxm
    --request-rate "8 request/s" --lengths azure_conv_2023 --goodput ttft:200ms

  secondorder serve --model llama_3_1_8b --accelerator h100_sxm --no-simulate
    --request-rate "8 request/s" --input-len 1024 --output-len "geometric 256"
"""

WORKLOAD = Group("Workload", sort_key=2)
ENGINE = Group("Engine (as in vLLM)", sort_key=3)


def _workload(text: str, metavar: str) -> Parameter:
    return Parameter(group=WORKLOAD, help=text, metavar=metavar)


def _engine(text: str, field: str = "", default: str = "", **options: Any) -> Parameter:
    """A flag of the engine; ``field`` is the one of the scenario whose default the help shows."""
    return Parameter(group=ENGINE, help=text, show_default=_default(field) if field else default or None, **options)


def _number(text: str, field: str = "", default: str = "", **options: Any) -> Parameter:
    return _engine(text, field, default, converter=plain, **options)


def _default(name: str) -> Callable[[object], str]:
    def shown(_: object) -> str:
        from secondorder.plans.fields import shown_fields
        from secondorder.scenarios.serving import Serving

        return str(shown_fields(Serving)[name].default)

    return shown


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is asked of the service."""

    request_rate: Annotated[str | None, _workload('Mean rate of the arrivals, "8 request/s".', "RATE")] = None
    burstiness: Annotated[
        float,
        Parameter(
            group=WORKLOAD,
            converter=plain,
            help="Shape of the gamma gaps between arrivals; 1 is Poisson, less is burstier.",
            show_default="1",
        ),
    ] = 1.0
    lengths: Annotated[
        str | None, _workload("Prompt and output tokens together, of the zoo (azure_conv_2023).", "NAME")
    ] = None
    input_len: Annotated[
        str | None,
        _workload(
            'Prompt tokens: 1024, "geometric 256", "lognormal mean=512 cv=1.2" or "uniform 1 high=99".', metavar="LAW"
        ),
    ] = None
    output_len: Annotated[str | None, _workload("Output tokens, likewise.", "LAW")] = None
    trace: Annotated[str | None, _workload("Recorded requests (Azure, Mooncake, BurstGPT) to replay.", "FILE")] = None
    goodput: Annotated[
        list[str] | None,
        Parameter(
            group=WORKLOAD,
            metavar="METRIC:TIME...",
            help="Latency limits of a good request, ttft:200ms; tpot and e2el too. May be repeated.",
            negative="",
        ),
    ] = None

    @property
    def table(self) -> dict[str, Any]:
        """As a plan spells it."""
        given = {
            "arrivals": self._arrivals,
            "lengths": self._lengths,
            "goodput": dict(map(_objective, self.goodput or ())),
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def _arrivals(self) -> dict[str, Any]:
        if self.trace is not None:
            if self.burstiness != 1:
                raise InputError("burstiness", given="a law of arrivals beside a trace", expected="one of the two")
            return {"kind": "trace", "file": self.trace, **({"rate": self.request_rate} if self.request_rate else {})}
        if self.request_rate is None:
            raise InputError("request_rate", given="nothing", expected='a rate such as "8 request/s", or a trace')
        if self.burstiness == 1:
            return {"kind": "poisson", "rate": self.request_rate}
        return {"kind": "gamma", "rate": self.request_rate, "burstiness": self.burstiness}

    @property
    def _lengths(self) -> Any:
        marginals = {"input": self.input_len, "output": self.output_len}
        given = [name for name, length in marginals.items() if length is not None]
        if self.lengths is not None and given:
            raise InputError("lengths", given=f"lengths beside {given[0]}_len", expected="one of the two")
        if len(given) == 1:
            (other,) = marginals.keys() - given
            raise InputError(f"{other}_len", given="nothing", expected=f"a length beside {given[0]}_len")
        if self.lengths is None and not given and self.trace is None:
            raise InputError("lengths", given="nothing", expected="lengths, input_len and output_len, or a trace")
        return marginals if given else self.lengths


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Engine:
    """What serves: fields of the scenario by their own names. What is not given has the scenario's default."""

    precision: Annotated[
        str | None, _engine("Number format of weights and arithmetic.", "precision", metavar="NAME")
    ] = None
    kv_precision: Annotated[
        str | None, _engine("Number format of the KV cache.", default="as precision", metavar="NAME")
    ] = None
    tensor_parallel_size: Annotated[
        int | None, _number("Accelerators that share each layer.", "tensor_parallel_size")
    ] = None
    max_num_seqs: Annotated[int | None, _number("Sequences that run at once, at most.", "max_num_seqs")] = None
    max_num_batched_tokens: Annotated[
        int | None, _number("Tokens that a step may process.", "max_num_batched_tokens")
    ] = None
    max_model_len: Annotated[
        int | None, _number("Longest prompt plus output, in tokens.", default="the model's own")
    ] = None
    gpu_memory_utilization: Annotated[
        float | None,
        _number("Share of the memory that the engine may use.", "gpu_memory_utilization", metavar="SHARE"),
    ] = None
    reserved_memory: Annotated[
        str | None,
        _engine("Memory kept of that for activations and the runtime.", "reserved_memory", metavar="SIZE"),
    ] = None
    block_size: Annotated[int | None, _number("Tokens in a block of the KV cache.", "block_size")] = None
    num_gpu_blocks: Annotated[int | None, _number("Blocks of the KV cache.", default="what fits")] = None
    long_prefill_token_threshold: Annotated[
        int | None, _number("Tokens that a step may take of one prompt.", default="no limit")
    ] = None
    enable_chunked_prefill: Annotated[
        bool | None, _engine("Spread a long prompt over several steps.", "enable_chunked_prefill")
    ] = None
    enable_prefix_caching: Annotated[
        bool | None, _engine("Keep the blocks of finished requests.", "enable_prefix_caching", negative="")
    ] = None
    async_scheduling: Annotated[
        bool | None, _engine("Schedule a step while the one before it runs.", "async_scheduling", negative="")
    ] = None
    step_time: Annotated[
        str | None,
        _engine(
            'How long a step takes, "roofline compute_efficiency=0.6 memory_efficiency=0.8".',
            "step_time",
            metavar="LINE",
        ),
    ] = None

    @property
    def table(self) -> dict[str, Any]:
        """As a plan spells it."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None}


def serve(
    *,
    model: Annotated[
        str,
        Parameter(
            group=REQUIRED,
            metavar="NAME",
            help="Language model, of the zoo (llama_3_1_8b) or a Hugging Face config.json.",
        ),
    ],
    accelerator: Annotated[
        str, Parameter(group=REQUIRED, metavar="NAME", help="Accelerator that serves it, of the zoo (h100_sxm).")
    ],
    workload: Workload = Workload(),
    engine: Engine = Engine(),
    simulate: Simulated = True,
    margin: Margin = None,
    run: Run = USUAL,
    out: Output = PRINTED,
) -> None:
    """Size an LLM service: closed forms beside its simulation."""
    from secondorder.validation.comparison import compare
    from secondorder.verbs import solve

    check_output(out)
    table = {"model": model, "accelerator": accelerator, **workload.table, **engine.table}
    scenario = read_flags(table)
    if not simulate:
        show(solve(scenario), out)
        return
    with patience("simulating"):
        comparison = compare(scenario, margin=margin, **run.arguments)
    show(comparison, out)


def read_flags(table: dict[str, Any]) -> "Serving":
    """The scenario of a table that flags gave. Errors name the flag."""
    from secondorder.plans.tables import Tables
    from secondorder.scenarios.serving import Serving

    try:
        return Tables().build(Serving, table)
    except FileError:
        raise
    except InputError as error:
        raise _renamed(error) from None


_FLAGS = {
    "arrivals.rate": "request_rate",
    "arrivals.burstiness": "burstiness",
    "lengths.input": "input_len",
    "lengths.output": "output_len",
}
"""The flags that are not called as the field they set."""


def _renamed(error: InputError) -> InputError:
    for field, flag in _FLAGS.items():
        if error.what.startswith(field):
            error.what = flag + error.what.removeprefix(field)
    return error


def _objective(text: str) -> tuple[str, str]:
    metric, colon, most = text.partition(":")
    if not colon:
        raise InputError("goodput", given=repr(text), expected="METRIC:TIME such as ttft:200ms")
    return metric.strip(), most.strip()
