"""``python -m secondorder`` is the command ``secondorder``."""

import os
import signal
import sys


def run() -> None:
    """Run the command and end the process; Ctrl-C, which may come at any moment, ends in one line."""
    try:
        from secondorder.cli import main

        code = main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:  # while modules are loaded
        code = 130
        print("secondorder: interrupted", file=sys.stderr)
    if code == 130:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stderr.flush()
        os._exit(code)  # no farewell to workers, which end by themselves
    sys.exit(code)


if __name__ == "__main__":
    run()
