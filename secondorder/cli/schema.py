"""``secondorder schema``: what a plan file may hold, as a JSON schema for editors and checkers."""

import json
from typing import Annotated

from cyclopts import Parameter

from secondorder.cli.options import OUTPUT, Output
from secondorder.cli.output import check_output, write

EXAMPLE = """\
Examples:

  secondorder schema --output plan.schema.json

  secondorder schema --table training
"""


def schema(
    *,
    table: Annotated[
        str | None,
        Parameter(metavar="NAME", help="Only the schema of this table, such as training.", show_default="all"),
    ] = None,
    output: Annotated[
        str | None, Parameter(group=OUTPUT, metavar="FILE", help="File to write instead of standard output.")
    ] = None,
) -> None:
    """Print the JSON schema of plan files."""
    from secondorder.errors import UnknownName
    from secondorder.plans.schema import plan_schema, table_schema
    from secondorder.systems.registry import SYSTEMS

    out = Output(output=output)
    check_output(out)
    if table is not None and table not in SYSTEMS:
        raise UnknownName.among("table", table, SYSTEMS)
    found = plan_schema() if table is None else table_schema(SYSTEMS[table].type)
    write(json.dumps(found, indent=2, ensure_ascii=False) + "\n", out)
