"""What a command line got wrong, told as any other error: what was given, what was expected."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, get_args

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    Token,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from secondorder.errors import InputError, SecondOrderError, UnknownName


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
            return _unknown("option", token.keyword or token.value, (n for a in arguments for n in a.names if a.parse))
        case MissingArgumentError():
            return _missing(error)
        case CoercionError(token=Token() as token) if choices := get_args(error.target_type):
            return InputError(_name(error), given=repr(token.value), expected=" or ".join(map(str, choices)))
        case CoercionError(token=Token() as token):
            return InputError(_name(error), given=repr(token.value), expected=_kind(error.target_type))
        case RepeatArgumentError(token=token):
            return InputError(_field(token.keyword or token.value), given="two values", expected="one")
        case UnusedCliTokensError(unused_tokens=[str() as word, *_]):
            return InputError("arguments", given=repr(word), expected="no further one", remedy=_see_help(error))
    return InputError("arguments", given=str(error), expected="other ones", remedy=_see_help(error))


def _missing(error: MissingArgumentError) -> InputError:
    """A value that was not given; a misspelt option may be why."""
    assert error.argument is not None
    names = error.argument.names
    for word in error.unused_tokens or ():
        if word.startswith("--") and word not in names and get_close_matches(word.partition("=")[0], names, cutoff=0.6):
            return _unknown("option", word, names)
    return InputError(_name(error), given="nothing", expected="a value", remedy=_see_help(error))


def _unknown(what: str, word: str, known: Iterable[str]) -> UnknownName:
    """``UnknownName.among`` for words with dashes."""
    names = list(known)
    near = get_close_matches(word.partition("=")[0], names, n=2, cutoff=0.6)
    few = ", ".join(names) if len(names) <= 12 else f"one of {len(names)} {what}s"
    remedy = f"did you mean {' or '.join(near)}?" if near else ""
    return UnknownName(what, given=repr(word), expected=few, remedy=remedy)


def _name(error: CycloptsError) -> str:
    assert error.argument is not None
    return _field(error.argument.name)


def _field(option: str) -> str:
    """The field that an option sets."""
    return option.partition("=")[0].lstrip("-").replace("-", "_").lower()


def _kind(target: Any) -> str:
    return {int: "an integer", float: "a number", bool: "true or false"}.get(target, str(target))


def _see_help(error: CycloptsError) -> str:
    return f'see "{" ".join(["secondorder", *(error.command_chain or ()), "--help"])}"'
