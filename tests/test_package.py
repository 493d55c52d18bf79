"""The archive and the wheel hold the package, and not the links at the top level."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKS = ("analytic", "fleets", "simulate", "validation", "workloads")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Source archive, and a wheel built from it as an installer would."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def sources() -> set[str]:
    package = ROOT / "secondorder"
    return {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.suffix in (".py", ".toml", ".csv", ".txt", ".typed", ".pyi") and "__pycache__" not in path.parts
    }


def test_the_links_show_the_layout():
    for name in LINKS:
        assert (ROOT / name).is_symlink()
        assert (ROOT / name).resolve() == ROOT / "secondorder" / name


def test_archive_and_wheel_hold_every_source_file_and_no_link(built):
    archive, wheel = built
    with tarfile.open(archive) as tar:
        archived = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
    wheeled = set(zipfile.ZipFile(wheel).namelist())
    for names in (archived, wheeled):
        assert sources() <= names
        assert not [name for name in names if name.split("/")[0] in LINKS]


def test_every_module_imports_from_the_wheel_alone(built, tmp_path):
    with zipfile.ZipFile(built[1]) as wheel:  # what an installer does with one
        wheel.extractall(tmp_path)
    code = """
import importlib, importlib.util, pathlib, pkgutil, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
import secondorder
assert pathlib.Path(secondorder.__file__).is_relative_to(sys.argv[1]), secondorder.__file__
names = [module.name for module in pkgutil.walk_packages(secondorder.__path__, "secondorder.")]
names = [name for name in names if not name.endswith("__main__")]
if importlib.util.find_spec("marimo") is None:  # an extra
    names = [name for name in names if not name.startswith(("secondorder.labs.notebooks.", "secondorder.labs.shell"))]
for name in names:
    importlib.import_module(name)
assert secondorder.models.llama_3_1_8b and secondorder.lengths.azure_conv_2023 and secondorder.accelerators.h100_sxm
print(len(names))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30
