"""What a command line got wrong, printed like any other error: what was given, what was expected."""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, get_args

from cyclopts import (
    App,
    Argument,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    Token,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from secondorder.cli.options import EXPECTED
from secondorder.errors import InputError, SecondOrderError, UnknownName
from secondorder.plans.text import listed


def told(error: CycloptsError) -> SecondOrderError:
    """The error of ours that says the same in one line."""
    cause = error.__cause__
    if isinstance(cause, SecondOrderError):
        return cause
    match error:
        case UnknownCommandError(app=App() as app, unused_tokens=[str() as word, *_]):
            kind = "option" if word.startswith("-") else "command"
            return _unknown(kind, word, (name for name in app if name.startswith("-") == (kind == "option")))
        case UnknownOptionError(token=token, argument_collection=arguments):
            names = [name for each in arguments for name in each.names if each.parse and name.startswith("--")]
            return _unknown("option", token.keyword or token.value, names)
        case MissingArgumentError():
            return _missing(error)
        case CoercionError(token=Token() as token) if choices := get_args(error.target_type):
            return _unlike(_name(error), token.value, [str(choice) for choice in choices])
        case CoercionError(token=Token() as token):
            return InputError(_name(error), given=repr(token.value), expected=_kind(error.target_type))
        case RepeatArgumentError(token=token):
            return InputError(_field(token.keyword or token.value), given="two values", expected="one")
        case UnusedCliTokensError(unused_tokens=[str() as word, *_]):
            return InputError("arguments", given=repr(word), expected="no more arguments", remedy=_see_help(error))
    return InputError("arguments", given=str(error), expected="those of the command", remedy=_see_help(error))


def _missing(error: MissingArgumentError) -> InputError:
    """Required values that were not given, all of them; a misspelt option may be why."""
    assert error.argument is not None
    names = error.argument.names
    for word in error.unused_tokens or ():
        if word.startswith("--") and word not in names and get_close_matches(word.partition("=")[0], names, cutoff=0.6):
            return _unknown("option", word, names)
    due = [error.argument] if error.keyword else list(_due(error, error.argument))
    if negative := _negative(error):
        expected = _expected(error, error.argument)
        return InputError(_field(error.argument.name), given=negative, expected=expected, remedy="it cannot be below 0")
    if len(due) == 1:
        expected = _expected(error, error.argument)
    else:
        spelt = [("" if each.index is not None else f"{each.name} ") + _example(error, each) for each in due]
        expected = f"all of them, such as {' '.join(spelt)}"
    what = f"{' '.join(error.command_chain or ())}: {listed([each.name for each in due])}"
    return InputError(what, given="nothing", expected=expected, remedy=_see_help(error))


def _negative(error: MissingArgumentError) -> str:
    """The number below 0 that follows a flag and was taken for another flag; empty where there is none."""
    words = list(error.root_input_tokens or ())
    after = words[words.index(error.keyword) + 1 :][:1] if error.keyword in words else []
    return "".join(word for word in after if re.match(r"-\.?\d", word))


def _due(error: CycloptsError, first: Argument) -> Iterator[Argument]:
    """The arguments that must be given and were not: ``first``, and what would be missed after it."""
    given = {word.partition("=")[0] for word in error.root_input_tokens or ()}
    for each in _app(error).assemble_argument_collection():
        later = each.index is not None and first.index is not None and each.index > first.index
        absent = each.index is None and not given.intersection(each.names)
        if each.names == first.names or (each.required and not each.children and (later or absent)):
            yield each


def _example(error: CycloptsError, argument: Argument) -> str:
    """The value as the example in the command's help writes it."""
    command = f"secondorder {' '.join(error.command_chain or ())}"
    before = re.escape(argument.name) if argument.index is None else command + argument.index * r" \S+"
    found = re.search(rf'{before} ("[^"]*"|\S+)', str(_app(error).help_epilogue))
    return found[1] if found else ""


def _expected(error: CycloptsError, argument: Argument) -> str:
    """What a value may be, in words."""
    if choices := argument.get_choices():
        return " or ".join(choices)
    expected = EXPECTED.get(argument.parameter.metavar or "", _kind(argument.hint))
    example = _example(error, argument)
    return f"{expected} such as {example}" if example else expected


def _app(error: CycloptsError) -> App:
    """The command that was called."""
    assert error.app is not None
    return error.app


def _unknown(what: str, word: str, known: Iterable[str]) -> UnknownName:
    """``UnknownName.among`` for words with dashes."""
    names = list(known)
    near = get_close_matches(word.partition("=")[0], names, n=2, cutoff=0.6)
    told = [name for name in names if not (name.startswith("--no-") and f"--{name[5:]}" in names)]
    few = ", ".join(told) if len(told) <= 12 or (what == "option" and not near) else f"one of {len(told)} {what}s"
    remedy = f"did you mean {' or '.join(near)}?" if near else ""
    return UnknownName(what, given=repr(word), expected=few, remedy=remedy)


def _unlike(what: str, given: str, choices: list[str]) -> UnknownName:
    """None of the choices; the near ones are suggested."""
    near = get_close_matches(given.lower().replace("-", "_"), choices, n=2, cutoff=0.5)
    remedy = f"did you mean {' or '.join(near)}?" if near else ""
    return UnknownName(what, given=repr(given), expected=" or ".join(choices), remedy=remedy)


def _name(error: CycloptsError) -> str:
    assert error.argument is not None
    return _field(error.argument.name)


def _field(option: str) -> str:
    """The field that an option sets."""
    return option.partition("=")[0].lstrip("-").replace("-", "_").lower()


def _kind(target: Any) -> str:
    return {int: "an integer", float: "a number", bool: "true or false"}.get(target, "a value")


def _see_help(error: CycloptsError) -> str:
    return f'see "{" ".join(["secondorder", *(error.command_chain or ()), "--help"])}"'
