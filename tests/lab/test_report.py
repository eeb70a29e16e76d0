"""Report of a run."""

from tests.lab import report
from tests.lab.history import History
from tests.lab.oracle import Verdict
from tests.lab.run import Run
from tests.lab.schedule import Schedule
from tests.lab.view import Violation


def test_report_of_a_failure_names_a_late_lab() -> None:
    violations = [Violation("green", 1.0, "py-auto-0", "", "offline at the end")]
    verdict = Verdict(Schedule(name="any", backend="redis", faults=()), violations=violations)
    texts = {late: "\n".join(report.story(Run(History(), verdict, 0.0, late))) for late in (0.1, 3)}
    assert "too busy" not in texts[0.1]
    assert "the lab was 3.0 s late" in texts[3]
