"""``secondorder serve``: an LLM service from flags, solved, simulated and compared.

The flags are the fields of ``Serving``; those of vLLM's benchmark (--request-rate, --input-len) are other names for
fields of its arrivals and lengths.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from secondorder.cli.drawing import NOTHING_OF_SERVICE, DrawnOfService
from secondorder.cli.flags import Flag, Given, attach, build, flag_of, flags_of, given_in, nested
from secondorder.cli.options import OF_SERVICE, PRINTED, Margin, Output, RunOfService, Simulated
from secondorder.cli.output import check_output, write
from secondorder.cli.systems import answer
from secondorder.errors import InputError
from secondorder.systems.registry import SYSTEMS

if TYPE_CHECKING:
    from secondorder.scenarios.serving import Serving

TITLE = "Size an LLM service: closed forms and simulation."
EXAMPLE = """\
Examples:

  secondorder serve --model llama_3_1_8b --accelerator h100_sxm
    --request-rate "8 request/s" --lengths azure_conv_2023 --goodput ttft:200ms

  secondorder serve --model llama_3_1_8b --accelerator h100_sxm --no-simulate
    --request-rate "8 request/s" --input-len 1024 --output-len "geometric 256"
"""

WORKLOAD = Group("Workload", sort_key=2)
ENGINE = Group("Engine (as in vLLM)", sort_key=3)
_ASKED = ("arrivals", "lengths")
"""Fields of ``Serving`` that say what is asked of it."""

Trace = Annotated[
    str | None,
    Parameter(
        group=WORKLOAD, metavar="FILE", help="Recorded requests to replay: a trace, or a load generator's result."
    ),
]
EngineLog = Annotated[
    str | None,
    Parameter(group=ENGINE, metavar="FILE", help="vLLM's start-up log, which states the number of cache blocks."),
]


def _of_trace(help: str, metavar: str = "") -> Parameter:
    return Parameter(group=WORKLOAD, help=f"Of the trace: {help}", metavar=metavar or None, negative="")


@dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """What ``read_trace`` takes besides the file."""

    columns: Annotated[list[str] | None, _of_trace("its columns, as arrival:NAME", "FIELD:NAME...")] = None
    arrival_unit: Annotated[str | None, _of_trace("the unit of its times, such as s or ms.", "UNIT")] = None
    hash_block: Annotated[int | None, _of_trace("tokens of one block identity.", "N")] = None
    output_tokens: Annotated[int | None, _of_trace("output tokens of requests that record none.", "N")] = None
    turns: Annotated[str | None, _of_trace("turns to replay: first, or all with their delays.", "WHICH")] = None
    images: Annotated[str | None, _of_trace("requests with images: ignored counts tokens alone.", "ignored")] = None
    benchmark: Annotated[int | None, _of_trace("which of several runs, counted from 0.", "N")] = None

    @property
    def table(self) -> dict[str, object]:
        """Those that were given, as a plan has them."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.columns is not None:
            given["columns"] = dict(_pair("columns", text, "FIELD:NAME such as arrival:time") for text in self.columns)
        return {name: value for name, value in given.items() if value is not None}


UNTOLD = TraceOptions()
OfTrace = Annotated[TraceOptions, Parameter(name="*")]


MaxConcurrency = Annotated[
    int | None,
    Parameter(
        group=WORKLOAD,
        help="Requests that are sent and not yet answered, at most; with --request-rate inf each answer is followed "
        "by the next request.",
    ),
]
Show = Annotated[
    bool, Parameter(negative="", help="Print the engine's settings, what it would choose itself, and its memory.")
]
ENDLESS = "inf"
"""The rate of requests that are all there from the beginning, as in vLLM's load generator."""


def flags() -> tuple[list[Flag], list[Flag]]:
    """The fields of the scenario, and the fields of its arrivals and lengths under vLLM's names."""
    from secondorder.scenarios.serving import Serving
    from secondorder.workloads.arrivals import Gamma
    from secondorder.workloads.lengths import Lengths

    own = [flag for flag in flags_of(Serving, ENGINE) if flag.name not in ("goodput", "name")]
    asked = [Flag(flag.optional().field, flag.path, WORKLOAD) for flag in own if flag.name in _ASKED]
    aliases = [
        flag_of(Gamma, "rate", ("arrivals", "rate"), WORKLOAD, "request_rate"),
        flag_of(Gamma, "burstiness", ("arrivals", "burstiness"), WORKLOAD),
        flag_of(Lengths, "input", ("lengths", "input"), WORKLOAD, "input_len"),
        flag_of(Lengths, "output", ("lengths", "output"), WORKLOAD, "output_len"),
    ]
    return [*asked, *(flag for flag in own if flag.name not in _ASKED)], aliases


def read(
    given: Given, trace: str | None = None, goodput: list[str] | None = None, told: TraceOptions = UNTOLD
) -> "Serving":
    """The scenario of the flags that were given, by their names. Errors name the flag."""
    from secondorder.scenarios.serving import Serving

    own, aliases = flags()
    named = {flag.name: given[flag.name] for flag in aliases if flag.name in given}
    table = nested(own, given)
    for name, value in (("arrivals", _arrivals(given, named, trace, told)), ("lengths", _lengths(given, named, trace))):
        if value is not None:
            table[name] = value
    if goodput:
        table["goodput"] = _objectives(goodput)
    scenario: Serving = build(Serving, table, [*own, *aliases])
    return scenario


def _arrivals(given: Given, named: Given, trace: str | None, told: TraceOptions) -> object:
    """What a plan would have for the arrivals; none where their own flag spells them."""
    from secondorder.plans.text import plain_value

    if trace is None and told.table:
        raise InputError(next(iter(told.table)), given="an option of a trace", expected="a trace too")
    rate, burstiness = named.get("request_rate"), named.get("burstiness")
    if "arrivals" in given:
        if stray := [*named.keys() & {"request_rate", "burstiness"}, *(["trace"] if trace else [])]:
            raise InputError("arrivals", given=f"arrivals with {stray[0]}", expected="one of the two")
        return None
    if trace is not None:
        if burstiness is not None:
            raise InputError("burstiness", given="a law of arrivals with a trace", expected="one of the two")
        return {"kind": "trace", "file": trace, **told.table, **({"rate": rate} if rate else {})}
    if rate is None:
        raise InputError("arrivals", given="nothing", expected='--request-rate "8 request/s", or --trace FILE')
    if burstiness is None or plain_value(str(burstiness)) == 1:
        return {"kind": "poisson", "rate": rate}
    return {"kind": "gamma", "rate": rate, "burstiness": plain_value(str(burstiness))}


def _lengths(given: Given, named: Given, trace: str | None) -> object:
    """What a plan would have for the lengths; none where their own flag, or a trace, gives them."""
    from secondorder.plans.text import plain_value

    both = {"input": named.get("input_len"), "output": named.get("output_len")}
    parts = [name for name, length in both.items() if length is not None]
    if "lengths" in given and parts:
        raise InputError("lengths", given=f"lengths with {parts[0]}_len", expected="one of the two")
    if len(parts) == 1:
        (other,) = both.keys() - parts
        raise InputError(f"{other}_len", given="nothing", expected=f"a length: --{other}-len beside --{parts[0]}-len")
    recorded = trace is not None or _is_file(given.get("arrivals"))
    if "lengths" not in given and not parts and not recorded:
        expected = "--lengths azure_conv_2023, --input-len and --output-len, or --trace FILE"
        raise InputError("lengths", given="nothing", expected=expected)
    return {name: plain_value(str(length)) for name, length in both.items()} if parts else None


def _is_file(arrivals: object) -> bool:
    """Whether the arrivals are the file of a trace, which has its own lengths."""
    from secondorder.plans.tables import is_path

    return isinstance(arrivals, str) and (is_path(arrivals) or arrivals.lstrip().startswith("{"))


def _objectives(texts: list[str]) -> object:
    """Objectives one by one (``ttft:200ms``), or all of them as a table."""
    from secondorder.plans.text import plain_value

    if len(texts) == 1 and isinstance(table := plain_value(texts[0]), dict):
        return table
    return dict(_pair("goodput", text, "METRIC:TIME such as ttft:200ms") for text in texts)


def _pair(what: str, text: str, expected: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise InputError(what, given=repr(text), expected=expected)
    return name.strip(), value.strip()


def _limited(given: Given, most: int | None) -> tuple[Given, bool]:
    """The flags with a rate that the scenario takes, and whether each answer is followed by the next request.

    The rate of an endless stream does not matter: the closed loop sends the next request whenever a place is free.
    """
    endless = str(given.get("request_rate", "")).strip().removesuffix("request/s").strip() == ENDLESS
    if endless and most is None:
        expected = 'a rate such as "8 request/s", or max_concurrency with an endless rate'
        raise InputError("request_rate", given=ENDLESS, expected=expected, remedy="add --max-concurrency 32")
    return ({**given, "request_rate": "1 request/s"} if endless else given), endless


def _with_log(given: Given, engine_log: str | None) -> Given:
    """The flags, with the blocks of an engine's start-up lines."""
    if engine_log is None:
        return given
    from secondorder.scenarios.engine_log import read_engine_log

    if "num_gpu_blocks" in given:
        raise InputError("engine_log", given="a log with num_gpu_blocks", expected="one of the two")
    log = read_engine_log(engine_log)
    size = int(str(given.get("block_size", log.block_size or 16)))
    return {**given, "block_size": str(size), "num_gpu_blocks": str(log.blocks(size))}


def _command() -> Callable[..., None]:
    own, aliases = flags()
    every = [*own, *aliases]
    help = "Latency limit of a good request, such as ttft:200ms; also tpot and e2el; may be repeated."
    objectives = Parameter(group=WORKLOAD, metavar="METRIC:TIME...", help=help, negative="")

    def serve(
        *,
        values: object,
        trace: Trace = None,
        told: OfTrace = UNTOLD,
        engine_log: EngineLog = None,
        max_concurrency: MaxConcurrency = None,
        show: Show = False,
        goodput: list[str] | None = None,
        simulate: Simulated = True,
        margin: Margin = None,
        run: RunOfService = OF_SERVICE,
        drawn: DrawnOfService = NOTHING_OF_SERVICE,
        out: Output = PRINTED,
    ) -> None:
        check_output(out)
        given = dict(_with_log(given_in(values, every), engine_log))
        asked, endless = _limited(given, max_concurrency)
        if show:
            from secondorder.report.engine_settings import shown_settings

            write(shown_settings(read(asked, trace, goodput, told)) + "\n", out)
            return
        if max_concurrency is None:
            answer(read(asked, trace, goodput, told), simulate, margin, run.with_precision_of(given), out, drawn)
            return
        from secondorder.scenarios.closed_loop import ClosedLoop

        serving = read(asked, trace, goodput, told)
        loop = ClosedLoop(serving=serving, max_concurrency=max_concurrency, offered=not endless, name="serving")
        answer(loop, simulate, margin, run, out, drawn)

    serve.__annotations__["goodput"] = Annotated[list[str] | None, objectives]
    serve.__doc__ = TITLE
    return attach(serve, every, SYSTEMS["serving"])


def __getattr__(name: str) -> Callable[..., None]:
    """The command, made when it is first asked for: until then no scenario is imported."""
    if name != "serve":
        raise AttributeError(name)
    return _command()
