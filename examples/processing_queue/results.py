"""Files with the results of jobs; a job asks before it overwrites one."""

from collections.abc import Callable

from configuration import Configuration

Ask = Callable[[str, list[str]], str]
"""Function that asks a person, and returns one of the choices."""


def save(text: str, name: str, *, ask: Ask) -> str:
    """Write a result beside those of earlier files, and return the message for the page."""
    folder = Configuration.from_env().data / "results"
    folder.mkdir(exist_ok=True)
    target = folder / f"{name.replace('/', '_')}.txt"
    if target.exists() and ask(f"Overwrite the file {target.name}?", ["yes", "no"]) == "no":
        return "The earlier result stays"
    target.write_text(text)
    return text
