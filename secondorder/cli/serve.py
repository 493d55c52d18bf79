"""``secondorder serve``: an LLM service from flags, solved, simulated and compared.

The flags are the fields of ``Serving``; those of vLLM's benchmark (--request-rate, --input-len) are other names for
fields of its arrivals and lengths.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.flags import Flag, Given, attach, build, flag_of, flags_of, given_in, nested
from secondorder.cli.options import PRINTED, USUAL, Margin, Output, Run, Simulated
from secondorder.cli.output import check_output
from secondorder.cli.systems import answer
from secondorder.errors import InputError
from secondorder.systems.registry import SYSTEMS

if TYPE_CHECKING:
    from secondorder.scenarios.serving import Serving

TITLE = "Size an LLM service: closed forms beside its simulation."
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
    Parameter(group=WORKLOAD, metavar="FILE", help="Recorded requests (Azure, Mooncake, BurstGPT) to replay."),
]


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


def read(given: Given, trace: str | None = None, goodput: list[str] | None = None) -> "Serving":
    """The scenario of the flags that were given, by their names. Errors name the flag."""
    from secondorder.scenarios.serving import Serving

    own, aliases = flags()
    named = {flag.name: given[flag.name] for flag in aliases if flag.name in given}
    table = nested(own, given)
    for name, value in (("arrivals", _arrivals(given, named, trace)), ("lengths", _lengths(given, named, trace))):
        if value is not None:
            table[name] = value
    if goodput:
        table["goodput"] = _objectives(goodput)
    scenario: Serving = build(Serving, table, [*own, *aliases])
    return scenario


def _arrivals(given: Given, named: Given, trace: str | None) -> object:
    """What a plan would have for the arrivals; none where their own flag spells them."""
    from secondorder.plans.text import plain_value

    rate, burstiness = named.get("request_rate"), named.get("burstiness")
    if "arrivals" in given:
        if stray := [*named.keys() & {"request_rate", "burstiness"}, *(["trace"] if trace else [])]:
            raise InputError("arrivals", given=f"arrivals beside {stray[0]}", expected="one of the two")
        return None
    if trace is not None:
        if burstiness is not None:
            raise InputError("burstiness", given="a law of arrivals beside a trace", expected="one of the two")
        return {"kind": "trace", "file": trace, **({"rate": rate} if rate else {})}
    if rate is None:
        raise InputError("request_rate", given="nothing", expected='a rate such as "8 request/s", or a trace')
    if burstiness is None or plain_value(str(burstiness)) == 1:
        return {"kind": "poisson", "rate": rate}
    return {"kind": "gamma", "rate": rate, "burstiness": plain_value(str(burstiness))}


def _lengths(given: Given, named: Given, trace: str | None) -> object:
    """What a plan would have for the lengths; none where their own flag, or a trace, gives them."""
    from secondorder.plans.text import plain_value

    both = {"input": named.get("input_len"), "output": named.get("output_len")}
    parts = [name for name, length in both.items() if length is not None]
    if "lengths" in given and parts:
        raise InputError("lengths", given=f"lengths beside {parts[0]}_len", expected="one of the two")
    if len(parts) == 1:
        (other,) = both.keys() - parts
        raise InputError(f"{other}_len", given="nothing", expected=f"a length beside {parts[0]}_len")
    recorded = trace is not None or _is_file(given.get("arrivals"))
    if "lengths" not in given and not parts and not recorded:
        raise InputError("lengths", given="nothing", expected="lengths, input_len and output_len, or a trace")
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
    return dict(map(_objective, texts))


def _objective(text: str) -> tuple[str, str]:
    metric, colon, most = text.partition(":")
    if not colon:
        raise InputError("goodput", given=repr(text), expected="METRIC:TIME such as ttft:200ms")
    return metric.strip(), most.strip()


def _command() -> Callable[..., None]:
    from secondorder.plans.fields import shown_fields
    from secondorder.scenarios.serving import Serving

    own, aliases = flags()
    every = [*own, *aliases]
    help = shown_fields(Serving)["goodput"].text
    objectives = Parameter(group=WORKLOAD, metavar="METRIC:TIME...", help=help, negative="")

    def serve(
        *,
        values: Any,
        trace: Trace = None,
        goodput: list[str] | None = None,
        simulate: Simulated = True,
        margin: Margin = None,
        run: Run = USUAL,
        out: Output = PRINTED,
    ) -> None:
        check_output(out)
        answer(read(given_in(values, every), trace, goodput), simulate, margin, run, out)

    serve.__annotations__["goodput"] = Annotated[list[str] | None, objectives]
    serve.__doc__ = TITLE
    return attach(serve, every, SYSTEMS["serving"])


def __getattr__(name: str) -> Any:
    """The command, made when it is first asked for: until then no scenario is imported."""
    if name != "serve":
        raise AttributeError(name)
    return _command()
