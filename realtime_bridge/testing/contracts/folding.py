"""Contract of every `FoldingLog`: keys with owners, their parts, notes, ends and leases."""
# ruff: noqa: D102 -- a test's name states its condition and result, its numbers are offsets

from collections.abc import Sequence
from typing import ClassVar

from realtime_bridge.backend.log import FoldingLog
from realtime_bridge.testing.contracts.folding_acceptance import FoldingAcceptanceContract
from realtime_bridge.testing.contracts.folding_content import FoldingContentContract
from realtime_bridge.testing.contracts.folding_histories import Elapse, compare_history
from realtime_bridge.testing.contracts.folding_leases import FoldingLeaseContract


class FoldingLogContract(FoldingAcceptanceContract, FoldingContentContract, FoldingLeaseContract):
    """Tests of a log that folds; a subclass provides `sender` and `elapse`."""

    histories: ClassVar[Sequence[int]] = range(10)
    """Seeds of the random histories that are compared with the model."""

    async def test_random_histories_agree_with_the_model(
        self, sender: FoldingLog, elapse: Elapse
    ) -> None:
        for seed in self.histories:
            await compare_history(sender, elapse, seed)
