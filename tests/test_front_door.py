"""The front door: every name it promises, at next to no cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import secondorder as so
from secondorder.errors import UnknownName


def test_every_exported_name_exists_and_is_documented():
    for name in so.__all__:
        assert getattr(so, name).__doc__ or name in ("accelerators", "models", "lengths"), name


def test_each_name_stands_once():
    tree = ast.parse(Path(so.__file__).with_suffix(".pyi").read_text())
    names = [alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(names) == sorted(so.__all__)
    assert len(names) == len(set(names))


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, secondorder; print([m for m in ('numpy', 'pint', 'pandas', 'simpy', 'scipy') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_simulate_is_a_verb_and_a_package():
    import secondorder.simulate.serving

    assert callable(so.simulate)
    assert so.simulate.serving is secondorder.simulate.serving


def test_a_misspelt_name_suggests_the_near_ones():
    with pytest.raises(UnknownName, match="did you mean llama_3_1_8b"):
        _ = so.models.llama_31_8b
    with pytest.raises(UnknownName, match="h100_sxm"):
        _ = so.accelerators.h100
    with pytest.raises(AttributeError):
        _ = so.nothing_of_the_kind
    assert not hasattr(so.models, "llama")


def test_zoo_names_complete_on_tab():
    assert "h100_sxm" in dir(so.accelerators)
    assert "azure_conv_2023" in dir(so.lengths)
    assert all(
        name.isidentifier() and name == name.lower() for zoo in (so.accelerators, so.models, so.lengths) for name in zoo
    )
