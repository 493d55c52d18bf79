"""Labs served by marimo to this machine alone, in this process."""

import logging
import runpy
import socket
import sys
from collections.abc import Sequence
from threading import Thread

from secondorder.errors import InputError
from secondorder.labs.lab import Lab
from secondorder.labs.pictures import Drawer, shown
from secondorder.labs.registry import notebook


def serve(labs: Sequence[Lab], port: int | None, browser: bool) -> None:
    """Serve notebooks until the process is interrupted; if several, the first page has a link to each.

    The first figure is drawn while marimo starts and the browser loads the page. Errors: ``InputError`` if
    the port is taken or marimo cannot start.
    """
    if port is not None and _taken(port):
        raise InputError("port", given=port, expected="a port that nobody listens to", remedy="leave out --port")
    words = ["marimo", "-q", "run", *(str(notebook(lab)) for lab in labs), "--host", "127.0.0.1"]
    words += ["--no-sandbox", "--no-check", *([] if browser else ["--headless"])]
    sys.argv = words + (["--port", str(port)] if port is not None else [])
    logging.getLogger("uvicorn.error").addFilter(_tells)
    Drawer.move()
    Thread(target=shown, args=(labs[0].name, tuple(labs[0].start.items())), daemon=True).start()
    try:
        runpy.run_module("marimo", run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0, 130):
            raise InputError("lab", given=f"marimo ended with {end.code}", expected="0") from None


def _taken(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def _tells(record: logging.LogRecord) -> bool:
    """Whether a line of the server is for the user: not the tasks that Ctrl-C cancels."""
    return "CancelledError" not in record.getMessage()
