"""``secondorder lab``: pages to learn from, in the browser or on paper."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from secondorder.cli.drawing import TYPED, check_folder
from secondorder.cli.options import PRINTED, Output
from secondorder.cli.output import check_output, emit
from secondorder.errors import InputError

if TYPE_CHECKING:
    from secondorder.labs.lab import Lab

EXAMPLE = """\
Examples:

  secondorder lab

  secondorder lab knee

  secondorder lab all

  secondorder lab knee --export page

Without a name the labs are listed; "all" opens a page with a link to each. A
lab opens in the browser, served by marimo ("pip install 'secondorder[labs]'")
to this machine alone; Ctrl-C ends it. An exported page needs neither.
"""

SHOWN = Group("Lab", sort_key=1)


def lab(
    name: Annotated[
        str | None, Parameter(group=SHOWN, metavar="NAME", help="Lab by its name or number, or all of them: all.")
    ] = None,
    /,
    *,
    port: Annotated[
        int | None, Parameter(group=SHOWN, metavar="INT", help="Port of this machine.", show_default="a free one")
    ] = None,
    browser: Annotated[bool, Parameter(group=SHOWN, help="Open the browser.")] = True,
    export: Annotated[
        str | None, Parameter(group=SHOWN, metavar="DIR", help="Folder for the lab as a page that needs no network.")
    ] = None,
    out: Output = PRINTED,
) -> None:
    """Open a lab: predict, move the sliders, see where formulas hold."""
    from secondorder.labs.registry import lab_of, labs

    check_output(out)
    if name is None:
        _list(out)
        return
    if name == "all":
        if export is not None:
            raise InputError("export", given="all labs", expected="one lab", remedy="export each by its name")
        _serve(list(labs().values()), port, browser)
        return
    chosen = lab_of(name)
    if export is not None:
        from secondorder.labs.export import page_of
        from secondorder.report.page import write_page

        check_folder(export)
        page = page_of(chosen, shlex.join(["secondorder", *TYPED.get()]))
        print(f"page: {write_page(page, export)}", file=sys.stderr)
        return
    _serve([chosen], port, browser)


def _list(out: Output) -> None:
    from secondorder.labs.registry import labs
    from secondorder.report.tables import Grid

    rows = [{"number": each.number, "name": each.name, "title": each.title} for each in labs().values()]
    below = ["secondorder lab NAME opens one in the browser"]
    grid = Grid(
        header=["", "name", "lab"], rows=[[str(value) for value in row.values()] for row in rows], below=below,
        numbers=frozenset({0}),
    )  # fmt: skip
    emit(rows, [grid], out)


def _serve(labs: "list[Lab]", port: int | None, browser: bool) -> None:
    """Serve notebooks to this machine alone, until it is interrupted."""
    from importlib.util import find_spec

    from secondorder.labs.serve import serve

    if find_spec("marimo") is None:
        remedy = "pip install 'secondorder[labs]', or --export DIR for a page without sliders"
        raise InputError("lab", given="no marimo here", expected="marimo, which shows the labs", remedy=remedy)
    if port is not None and not 1 <= port <= 65535:
        raise InputError("port", given=port, expected="an integer from 1 to 65535")
    served = f"lab {labs[0].name}" if len(labs) == 1 else f"{len(labs)} labs"
    print(f"{served}: Ctrl-C ends it", file=sys.stderr, flush=True)
    serve(labs, port, browser)
