"""Reset of process-wide state in a forked child."""

import os
from collections.abc import Callable


def after_fork_in_child(reset: Callable[[], object]) -> None:
    """Call `reset` in each forked child, before other code runs; Windows does not fork."""
    register = getattr(os, "register_at_fork", None)
    if register:
        register(after_in_child=reset)
