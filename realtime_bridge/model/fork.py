"""Reset of process-wide state in a forked child."""

import os
import sys
from collections.abc import Callable


def after_fork_in_child(reset: Callable[[], object]) -> None:
    """Call `reset` in each forked child, before other code runs; Windows does not fork."""
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=reset)
