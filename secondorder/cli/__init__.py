"""The command line: ``secondorder serve``, ``compare``, ``zoo`` and the others.

Standard output is the payload and nothing else. Exit codes: 0 done; 1 a bug in secondorder; 2 bad
input or usage; 3 infeasible or unstable; 4 a stated constraint is not met; 130 interrupted;
141 the reader of the output went away.
"""

import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from cyclopts import App, CycloptsError, Group
from cyclopts.help import DefaultFormatter

from secondorder import __version__
from secondorder.cli import (
    demo,
    deploy,
    explain,
    lab,
    layouts,
    measured,
    plans,
    queue,
    roofline,
    schema,
    search,
    sensitivity,
    serve,
    store,
    stragglers,
    systems,
    train,
    validate,
    zoo,
)
from secondorder.cli import map as maps
from secondorder.cli.drawing import TYPED
from secondorder.cli.options import FLAGS, pasted
from secondorder.cli.output import leave_stdout
from secondorder.cli.streams import prepare
from secondorder.cli.usage import told
from secondorder.errors import FileError, InfeasibleError, InputError, SecondOrderError
from secondorder.systems.registry import SYSTEMS

app = App(
    name="secondorder",
    help="Closed forms and event simulation of machine-learning systems, on one scenario.",
    help_epilogue="secondorder COMMAND --help says what each takes, with an example.\n"
    'Quantities have their unit: "8 request/s", "50 ms", "1 GB".',
    help_format="plaintext",
    help_formatter=FLAGS,
    version=__version__,
    version_format="plaintext",
    suppress_keyboard_interrupt=False,
)
_COMMANDS: Sequence[tuple[Callable[..., None] | str, str]] = (
    (demo.demo, demo.EXAMPLE),
    (zoo.zoo, zoo.EXAMPLE),
    (roofline.roofline, roofline.EXAMPLE),
    ("serve", serve.EXAMPLE),
    ("deploy", deploy.EXAMPLE),
    ("search", search.EXAMPLE),
    ("train", train.EXAMPLE),
    ("layouts", layouts.EXAMPLE),
    ("queue", queue.EXAMPLE),
    (plans.solve, plans.example("solve")),
    (plans.simulate, plans.example("simulate --seed 1")),
    (plans.compare, plans.example("compare --margin 0.05")),
    (explain.explain, explain.EXAMPLE),
    ("map", maps.EXAMPLE),
    (plans.sweep, plans.example('sweep --vary "arrivals.rate=2 request/s,8 request/s"')),
    (plans.check, plans.example("check")),
    (sensitivity.sensitivity, sensitivity.EXAMPLE),
    (store.store, store.EXAMPLE),
    (measured.calibrate, measured.CALIBRATE),
    (measured.replay, measured.REPLAY),
    (measured.emulate, measured.EMULATE),
    (schema.schema, schema.EXAMPLE),
    (validate.validate, validate.EXAMPLE),
    (lab.lab, lab.EXAMPLE),
)
_SYSTEMS = Group("One scenario from its flags", sort_key=1, help_formatter=DefaultFormatter())
app.group_commands = Group("Commands", sort_key=0, help_formatter=DefaultFormatter())
_TITLES = {
    "serve": serve.TITLE,
    "deploy": deploy.TITLE,
    "search": search.TITLE,
    "train": train.TITLE,
    "layouts": layouts.TITLE,
    "queue": queue.TITLE,
    "map": maps.TITLE,
}
"""Commands that are made of a scenario's fields, when they are first asked for."""
for place, (command, example) in enumerate(_COMMANDS):
    if isinstance(command, str):
        made = f"secondorder.cli.{command}:{command}"
        app.command(made, name=command, help=_TITLES[command], help_epilogue=pasted(example), sort_key=place)
    else:
        app.command(command, help_epilogue=pasted(example), sort_key=place)
study = App(
    name="study",
    help="Study a training run: its interval, spares, size and recovery.",
    help_format="plaintext",
    sort_key=4,
)
for name, title in train.STUDIES.items():
    study.command(f"secondorder.cli.train:study_{name}", name=name, help=title, help_epilogue=pasted(train.EXAMPLE))
study.command(stragglers.stragglers, help=stragglers.TITLE, help_epilogue=pasted(stragglers.EXAMPLE))
app.command(study)
for word, system in SYSTEMS.items():
    if system.own_command:
        continue
    app.command(
        f"secondorder.cli.systems:{word}",
        name=system.command_name,
        help=system.title,
        help_epilogue=systems.example(word),
        group=_SYSTEMS,
    )


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. A traceback is printed only for a bug in secondorder."""
    prepare()
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        given = sys.argv[1:] if tokens is None else tokens
        TYPED.set(tuple(given))
        try:
            app(
                joined(given),
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
            sys.stdout.flush()
        except (SecondOrderError, CycloptsError) as error:
            return _refuse(error)
        except KeyboardInterrupt:
            _say("interrupted")
            return 130
        except BrokenPipeError:
            leave_stdout()
            return 141
        except OSError as error:  # of the machine: a full disk, a closed stream, a folder that is gone
            leave_stdout()
            return _refuse(_of_the_machine(error))
        except MemoryError:
            _say("memory: got a system too large for it, expected a smaller one")
            return InfeasibleError.exit_code
        except OverflowError as error:
            return _refuse(InputError("numbers", given=f"too large ones ({error})", expected="smaller ones"))
        except Exception:
            return _fault()
    return 0


def joined(tokens: Sequence[str]) -> list[str]:
    """The words of a command line, a truth value joined to its option: ``--dropout true`` as ``--dropout=true``.

    >>> joined(["train", "--dropout", "true", "--seed", "1"])
    ['train', '--dropout=true', '--seed', '1']
    """
    words: list[str] = []
    for token in tokens:
        if token in ("true", "false") and words and words[-1].startswith("--") and "=" not in words[-1]:
            words[-1] += f"={token}"
        else:
            words.append(token)
    return words


def _refuse(error: SecondOrderError | CycloptsError) -> int:
    known = told(error) if isinstance(error, CycloptsError) else error
    if known.exit_code == 1:
        return _fault()
    _say(str(known))
    return known.exit_code


def _of_the_machine(error: OSError) -> InputError:
    """What the operating system refused, as an error of ours."""
    what = str(error.filename) if error.filename else "standard output"
    return FileError(what, given=error.strerror or "an error", expected="one that can be read or written")


def _fault() -> int:
    traceback.print_exc()
    _say(f"this is a bug in secondorder {__version__}: please report it with the lines above")
    return 1


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    _say(f"warning: {message}")


def _say(text: str) -> None:
    """One line on standard error."""
    with suppress(OSError):  # nobody is there to read it
        print("secondorder:", " ".join(text.splitlines()), file=sys.stderr)
