"""Mutated inputs: flags, plans, traces, model configurations and Python calls, thousands of them.

    python benchmarks/fuzz.py --count 10000 --seed 1
    python benchmarks/fuzz.py --count 1000 --seed 1 --kind numbers --kind files --kind others

Each must end without a traceback, with one of the stated exit codes, with finite answers, within 30 s and 2 GB. An
input is known by its number: ``--first N --count 1`` with the same seed tries it again.
"""

import argparse
import contextlib
import io
import json
import math
import random
import resource
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np

import secondorder as so
from secondorder.cli import main as secondorder
from secondorder.errors import SecondOrderError
from secondorder.systems.registry import SYSTEMS

CODES = {0, 2, 3, 4}
SECONDS, BYTES = 30, 2 << 30
WAITING = 20
"""Times as many seconds of the wall clock as of the processor, on a machine that others use too."""
ODD = (
    "0",
    "-1",
    "1",
    "2",
    "1e300",
    "1e-300",
    "-1e300",
    "1e17",
    "inf",
    "-inf",
    "nan",
    "1e400",
    "",
    " ",
    "abc",
    "true",
    "9223372036854775807",
    "99999999999999999999999",
    "1_000",
    "1,5",
    "0x10",
    "½",
    "٣",
    "x" * 10_000,
    "\x1b[31m",
    "\ufeff1",
    "1e300 request/s",
    "0 s",
    "-1 s",
    "1e300 s",
    "1e-300 s",
    "inf s",
    "nan request/s",
    "5 parsec",
    "1 m/s/s/s",
    "8 request",
    "poisson 0 request/s",
    "poisson 1e300 request/s",
    "lognormal 1 s scv=1e300",
    "lognormal 1 s scv=0",
    "gamma 1 s",
    "exponential",
    "exponential 1e-300 s",
    "uniform 5 s 1 s",
    "weibull 1 s shape=1e-9",
    "[1, 2]",
    "{a=1}",
    "[[",
    "'",
    '"',
    "/dev/null",
    "/",
    ".",
    "llama_3_1_8b",
    "h100_sxm",
    "fp16",
    "nvlink_4",
    "async 30 min pause=5 s",
    "none",
    "null",
)
"""Values that somebody may type."""
TRACE = "arrival,input_tokens,output_tokens\n0.0,100,20\n0.5,200,30\n1.25,50,10\n"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "num_hidden_layers": 22,
    "vocab_size": 32000,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}


class TooLong(BaseException):
    """An input that takes longer than it may."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An input that did not end as it must, and how it ended."""

    number: int
    kind: str
    given: str
    how: str


# Mutations


def mutated_text(text: str, chance: random.Random) -> str:
    """A text with a few of its characters, lines or numbers changed."""
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(text) + 1)
        lines = text.split("\n")
        match chance.randrange(7):
            case 0:
                text = text[:place] + chance.choice(ODD) + text[place:]
            case 1:
                text = text[:place] + text[place + chance.randint(1, 8) :]
            case 2:
                text = text[:place] + chance.choice("[]{}\"'=,;.-\x00\t\r\né#") + text[place:]
            case 3:
                words = text.split(" ")
                words[chance.randrange(len(words))] = chance.choice(ODD)
                text = " ".join(words)
            case 4:
                lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
                text = "\n".join(lines)
            case 5:
                lines.pop(chance.randrange(len(lines)))
                text = "\n".join(lines)
            case _:
                text = text.replace(chance.choice((",", ".", "=", "1", "0")), chance.choice((";", ",", "e", "-", "9")))
    return text


def mutated_words(words: list[str], chance: random.Random) -> list[str]:
    """The words of a command with a few of them changed, dropped, doubled or swapped."""
    words = list(words)
    for _ in range(chance.randint(1, 2)):
        place = chance.randrange(1, len(words)) if len(words) > 1 else 0
        match chance.randrange(6):
            case 0 | 1 | 2:
                values = [k for k, word in enumerate(words) if k and not word.startswith("--")] or [place]
                words[chance.choice(values)] = chance.choice(ODD)
            case 3:
                del words[place : place + chance.randint(1, 2)]
            case 4:
                other = chance.randrange(1, len(words)) if len(words) > 1 else 0
                words[place], words[other] = words[other], words[place]
            case _:
                words[place] = mutated_text(words[place], chance)
    return words or ["solve"]


def _example(word: str) -> list[str]:
    system = SYSTEMS[word]
    return [word.replace("_", "-"), *shlex.split(system.example)]


RUN = "--failures 'exponential 3 h' --interval '20 min' --write '60 s' --restart '5 min'"
ELASTIC = "--misdiagnosed 0.1 --replicas 16 --shared 0.1 --regroup '20 s' --reload '2 min'"
LINES = f"""\
serve --model llama_3_1_8b --accelerator h100_sxm --request-rate '8 request/s' --lengths azure_conv_2023
queue --arrivals 'poisson 8 request/s' --service 'lognormal 100 ms scv=4' --servers 2
train --failures 'exponential 8240 s' --interval '994 s' --write '60 s' --restart '300 s' --duration '54 day'
study recovery --failures 'exponential 3 h' --write '60 s' --restart '300 s' --spares 1 --repair '4 h' {ELASTIC}
roofline --model resnet50 --accelerator a100_80gb --batch-size 1 --precision fp16
zoo models
"""


def _commands() -> list[list[str]]:
    generated = [_example(word) for word, system in SYSTEMS.items() if not system.own_command]
    return generated + [shlex.split(line) for line in LINES.splitlines()]


def _plans() -> list[str]:
    queue = so.Queue(arrivals="poisson 8 request/s", service="lognormal 100 ms scv=4", servers=2)
    serving = so.Serving(
        model="llama_3_1_8b", accelerator="h100_sxm", arrivals="poisson 8 request/s", lengths="azure_conv_2023"
    )
    training = so.Training(
        failures="exponential 3 h", checkpoint=so.Checkpoint(interval="20 min", write="60 s"), duration="54 day"
    )
    asserted = '[queue]\narrivals = "poisson 8 request/s"\nservice = "100 ms"\nassert = ["wait_p99 < 1 s"]\n'
    return [*map(so.write_plan, (queue, serving, training)), asserted]


# Inputs


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """An alarm after the seconds of the processor that an input may take, or many times as long on the wall."""

    def late(*_: object) -> None:
        raise TooLong

    before = [(each, signal.signal(each, late)) for each in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(SECONDS * WAITING)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for each, handler in before:
            signal.signal(each, handler)


def _called(words: Sequence[str]) -> str:
    """How a command ends; empty if it ends as it must."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = secondorder(list(words))
    told = err.getvalue()
    if "Traceback" in told or code not in CODES:
        return f"exit code {code}: {told.strip().splitlines()[-2:]}"
    if code and told.count("\n") > 4:
        return f"{told.count(chr(10))} lines of error: {told[:200]!r}"
    if "\x1b" in told or len(told) > 4_000:
        return f"an error of {len(told)} characters: {told[:100]!r}"
    return _finite(out.getvalue()) if code == 0 and "json" in words else ""


def _finite(text: str) -> str:
    try:
        rows = json.loads(text)
    except ValueError:
        return ""
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict) or row.get("verdict") == "infeasible":
            continue  # a point of a sweep without an answer says why
        if "metric" not in row:
            continue  # a field that cannot be moved has no value
        value = row.get("value", 0)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return f"{row.get('metric')} ({row.get('source')}) is {value}"
    return ""


def flags(chance: random.Random, folder: Path) -> tuple[str, Callable[[], str]]:
    words = mutated_words(chance.choice(COMMANDS), chance)
    words += [] if words[0] in ("zoo", "roofline") else ["--no-simulate"] * (chance.random() < 0.95)
    words += ["--format", "json"]
    return shlex.join(words), lambda: _called(words)


def plans(chance: random.Random, folder: Path) -> tuple[str, Callable[[], str]]:
    text = mutated_text(chance.choice(PLANS), chance)
    plan = folder / "plan.toml"
    plan.write_text(text, encoding="utf-8", errors="replace")
    words = chance.choice(
        (["solve"], ["check", "--no-simulate"], ["sweep", "--no-simulate", "--vary", chance.choice(VARIED)])
    )
    return f"{words} {text!r}", lambda: _called([words[0], str(plan), *words[1:], "--format", "json"])


def traces(chance: random.Random, folder: Path) -> tuple[str, Callable[[], str]]:
    text = mutated_text(TRACE, chance)
    trace = folder / "trace.csv"
    trace.write_text(text, encoding="utf-8", errors="replace")
    words = ["serve", "--model", "llama_3_1_8b", "--accelerator", "h100_sxm", "--trace", str(trace), "--no-simulate"]
    return repr(text), lambda: _called(words)


def configs(chance: random.Random, folder: Path) -> tuple[str, Callable[[], str]]:
    text = json.dumps(CONFIG, indent=1)
    if chance.random() < 0.5:
        changed = {
            **CONFIG,
            chance.choice(list(CONFIG)): chance.choice((0, -1, 10**30, 1.5, None, "x", [], {}, True, "nan")),
        }
        text = json.dumps(changed)
    else:
        text = mutated_text(text, chance)
    (folder / "config.json").write_text(text, encoding="utf-8", errors="replace")
    words = shlex.split(
        "serve --accelerator h100_sxm --request-rate '1 request/s' --lengths azure_conv_2023 --no-simulate"
    )
    return repr(text), lambda: _called([*words, "--model", str(folder)])


def calls(chance: random.Random, folder: Path) -> tuple[str, Callable[[], str]]:
    plan = folder / "call.toml"
    plan.write_text(chance.choice(PLANS[:3]))
    scenario = so.read_plan(plan).one()
    field = chance.choice([each.name for each in fields(scenario) if each.init])
    value = chance.choice(
        (*ODD, 0, -1, 1.5, math.inf, math.nan, 10**40, None, [], {}, object(), b"x", True, ("a",), 1j)
    )

    def call() -> str:
        try:
            answer = so.solve(replace(scenario, **{field: value}))
        except SecondOrderError as error:
            return "" if "\n" not in str(error) else f"an error of several lines: {error}"
        except TypeError as error:
            return "" if "argument" in str(error) else f"TypeError: {error}"
        return "".join(f"{e.metric} is {e.amount}" for e in answer.estimates if not math.isfinite(e.amount))

    return f"{type(scenario).__name__} with {field}={value!r:.80}", call


NUMBERS = (
    np.float64(2.5),
    np.float32(2.5),
    np.float32("nan"),
    np.float64("inf"),
    np.float64(-1e308),
    np.int64(3),
    np.int64(-(2**63)),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.array(2.0),
    np.array([1.0, 2.0]),
    np.str_("8 request/s"),
    np.datetime64("2026-01-01"),
    Decimal("2.5"),
    Fraction(5, 2),
    "8\u00a0request/s",
    "８ request/s",
    "8 request/s\u200b",
    "\ud800",
)
"""Values that a program may hand over."""


def numbers(chance: random.Random, folder: Path) -> tuple[str, Callable[[], str]]:
    """A field of a scenario, or of what stands in one, takes a number of numpy or of the standard library."""
    scenario = so.read_plan(_plan(folder, chance.choice(PLANS[:3]))).one()
    field = chance.choice([each.name for each in fields(scenario) if each.init])
    inner = getattr(scenario, field)
    name, value = "", chance.choice(NUMBERS)
    if is_dataclass(inner) and chance.random() < 0.6:
        name = chance.choice([each.name for each in fields(inner) if each.init] or [""])
    verb = chance.choice((so.solve, so.write_plan))

    def call() -> str:
        try:
            changed = replace(inner, **{name: value}) if name else value
            answer = verb(replace(scenario, **{field: changed}))
        except SecondOrderError as error:
            return "" if "\n" not in str(error) else f"an error of several lines: {error}"
        except TypeError as error:
            return "" if "argument" in str(error) else f"TypeError: {error}"
        if isinstance(answer, str):
            return ""
        return "".join(f"{e.metric} is {e.amount}" for e in answer.estimates if not math.isfinite(e.amount))

    return f"{verb.__name__} of {type(scenario).__name__} with {field}.{name}={value!r:.80}", call


def _plan(folder: Path, text: str) -> Path:
    plan = folder / "given.toml"
    plan.write_text(text, encoding="utf-8", errors="surrogatepass")
    return plan


def files(chance: random.Random, folder: Path) -> tuple[str, Callable[[], str]]:
    """A file that is empty, has keys or tables twice, a byte-order mark, other line ends, or bytes that are no text."""
    text = chance.choice(PLANS)
    lines = text.splitlines()
    cut = chance.randrange(len(text))
    odd: tuple[bytes, ...] = (
        b"",
        b"\n" * 1_000,
        b"\xff\xfe" + text.encode("utf-16-le"),
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("\n", "\r\n").encode(),
        text.replace("\n", "\r").encode(),
        (text + text).encode(),
        "\n".join([*lines, chance.choice(lines)]).encode(),
        text.encode()[:cut] + bytes([chance.randrange(128, 256)]) + text.encode()[cut:],
        text.encode()[:cut],
        ("[" * 5_000).encode(),
        ("[queue]\n" + 'x = "' + "y" * 100_000 + '"\n').encode(),
        json.dumps(CONFIG).encode(),
        TRACE.encode(),
    )
    given = chance.choice(odd)
    path = folder / "odd.toml"
    path.write_bytes(given)
    verb = chance.choice(ON_FILES)
    return f"{verb} {given[:200]!r}", lambda: _called([word.replace("FILE", str(path)) for word in shlex.split(verb)])


ON_FILES = (
    "solve FILE --format json",
    "check FILE --no-simulate",
    "sweep FILE --vary servers=1,2 --no-simulate --format json",
    "sensitivity FILE --metric wait_mean --format json",
    "explain FILE",
    "store FILE",
    "store FILE --export FILE.csv",
    "map mm1 FILE --format json",
    "serve --show --model FILE --accelerator h100_sxm --request-rate '1 request/s' --lengths azure_conv_2023",
    "serve --model llama_3_1_8b --accelerator h100_sxm --trace FILE --no-simulate --format json",
    "validate --coverage --suite queueing --reference FILE",
    "validate --coverage --suite queueing --reference FILE --store FILE --resume",
)
"""Commands that read a file."""
OTHERS = f"""\
map mm1 --load 0.8 --arrival-scv 1 --service-scv 4
map kingman --load 0.8 --arrival-scv 1 --service-scv 4
search --model llama_3_1_8b --lengths azure_conv_2023 --rate '60 request/s' --ttft-p99 '500 ms' --contenders 0
deploy --model llama_3_1_8b --accelerator h100_sxm --arrivals 'poisson 16 request/s' --lengths azure_conv_2023
study interval {RUN} --no-simulate
study spares {RUN} --spares 2 --repair '4 h' --no-simulate
train {RUN} --ends-after '24 h' --grace '5 min' --requeue '30 min' --duration '300 day'
train {RUN} --step-time 'lognormal 50 s scv=1'
schema queue
zoo h100_sxm
validate --suite nosuch --seeds 2
store nosuch.db
"""


def others(chance: random.Random, folder: Path) -> tuple[str, Callable[[], str]]:
    """The commands that ``flags`` leaves out."""
    words = mutated_words(chance.choice([shlex.split(line) for line in OTHERS.splitlines()]), chance)
    words += ["--no-simulate"] * (words[0] in ("train", "study", "deploy"))
    return shlex.join(words), lambda: "" if words[0] == "validate" and len(words) < 3 else _called(words)


COMMANDS, PLANS = _commands(), _plans()
VARIED = (
    "servers=1,2",
    "arrivals.rate=1 request/s,inf",
    "x=1",
    "servers",
    "=,",
    "servers=nan",
    "arrivals=1e300",
    "a.b.c=1",
)
KINDS = {"flags": flags, "plans": plans, "traces": traces, "configs": configs, "calls": calls}
MORE = {"numbers": numbers, "files": files, "others": others}
"""Kinds that came later; an input of a seed keeps its number without them."""


def tried(number: int, seed: int, kinds: Sequence[str], folder: Path) -> Fault | None:
    """The fault that one input shows, if it does."""
    chance = random.Random(f"{seed} {number}")
    kind = chance.choice(list(kinds))
    given, ask = (KINDS | MORE)[kind](chance, folder)
    began = time.process_time()
    try:
        with limited():
            how = ask()
    except TooLong:
        how = f"over {SECONDS} s"
    except Exception as error:
        how = f"{type(error).__name__}: {error}"
    if not how and time.process_time() - began > SECONDS:
        how = f"over {SECONDS} s"
    return Fault(number=number, kind=kind, given=given[:600], how=how) if how else None


def faults(count: int, seed: int, first: int = 0, kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Fault]:
    """The faults that ``count`` inputs show."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            if (found := tried(number, seed, kinds, Path(folder))) is not None:
                yield found


def _command() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kind", choices=sorted(KINDS | MORE), action="append")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (BYTES + (2 << 30), resource.RLIM_INFINITY))  # libraries take addresses too
    found = 0
    for fault in faults(given.count, given.seed, given.first, given.kind or tuple(KINDS)):
        found += 1
        print(f"{fault.number} {fault.kind}: {fault.how}\n    {fault.given}", flush=True)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{given.count:,} inputs of seed {given.seed} from {given.first}: {found} faults, at most {most:.2f} GB")
    return 1 if found or most * 1e9 > BYTES else 0


if __name__ == "__main__":
    sys.exit(_command())
