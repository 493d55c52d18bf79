"""The same systems, event by event, on SimPy.

The package is callable: ``so.simulate(scenario, seed=1)`` is ``secondorder.verbs.simulate``.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secondorder.answers.answer import Answer


class _Callable(ModuleType):
    """``secondorder.simulate`` is both the package and the verb."""

    def __call__(self, *args: object, **options: object) -> "Answer":
        answer: Answer = import_module("secondorder.verbs").simulate(*args, **options)
        return answer


sys.modules[__name__].__class__ = _Callable
