"""Tests of the language checker: it finds planted words, and passes plain ones."""

import subprocess
import sys
from pathlib import Path

CHECKER = Path(__file__).parents[2] / "scripts" / "check_language.py"


def check(folder: Path, name: str, text: str) -> list[str]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    command = [sys.executable, str(CHECKER), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    lines = done.stdout.splitlines()
    assert done.returncode == bool(lines)
    return [line.removeprefix(f"{file}:") for line in lines]


def test_banned_word_in_a_document_is_found(tmp_path: Path) -> None:
    (line,) = check(tmp_path, "jobs.md", "# Jobs\n\nA job tells its life by itself.\n")

    assert line.startswith("3: tells — say: report")


def test_module_docstring_beginning_with_what_is_found(tmp_path: Path) -> None:
    (line,) = check(tmp_path, "module.py", '"""What a worker holds."""\n')

    assert line.startswith("1: What — say: a noun phrase")


def test_docstrings_of_classes_and_functions_are_read(tmp_path: Path) -> None:
    source = 'class Ear:\n    """How."""\n\n    async def f(self) -> None:\n        """Where."""\n'

    assert [line[:9] for line in check(tmp_path, "module.py", source)] == [
        "1: Ear — ",
        "2: How — ",
        "5: Where ",
    ]


def test_typescript_comment_beginning_with_when_is_found(tmp_path: Path) -> None:
    source = "/**\n * When to try again.\n */\nexport const first = 1;\n"

    (line,) = check(tmp_path, "backoff.ts", source)

    assert line.startswith("1: When — ")


def test_banned_word_within_a_name_is_found(tmp_path: Path) -> None:
    lines = check(tmp_path, "module.py", "_go_deaf()\ntellAll()\nTellers()\n")

    assert [line.split(" — ")[0] for line in lines] == ["1: deaf", "2: tell", "3: Tellers"]


def test_phrase_of_several_words_is_found(tmp_path: Path) -> None:
    lines = check(tmp_path, "functions.sql", "-- It lets the rows go, for ever.\n")

    assert [line.split(" — ")[0] for line in lines] == ["1: for ever"]


def test_plain_words_and_longer_words_pass(tmp_path: Path) -> None:
    text = '"""Bounded queue of received events; no more than 10 wait."""\n\nsecure = early = 1\n'

    assert check(tmp_path, "module.py", text) == []
