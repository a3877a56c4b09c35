"""What a run may still cost, and what its peers ask: the price of any plan, before it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from swarmd.protocols.errors import Refused
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.work import backward_operations, forward_operations
from swarmd.scheduler.funding import expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """A run's budget. Amounts in micro-credits."""

    spec: JobSpec
    steps: int
    """Still to be trained."""
    prices: Mapping[PeerId, int]
    """What peers ask for 10^12 operations; who is not named asks nothing."""
    budget: int
    """For the whole run."""
    spent: int = 0
    """Of it, by earlier terms."""

    @property
    def left(self) -> int:
        """What the steps still to be trained may cost."""
        return self.budget - self.spent

    def price(self, peer: PeerId) -> int:
        """What a peer asks."""
        return self.prices.get(peer, 0)

    def cost(self, stages: Iterable[tuple[PeerId, int, int]]) -> int:
        """What stages (peer, first layer, end) would earn until the last step."""
        return sum(self._earns(first, end, self.price(peer)) for peer, first, end in stages if self.price(peer))

    def too_small(self, cost: int) -> Refused:
        """The error for a run whose cheapest plan costs so much; it names the budget that is enough."""
        enough = format_credits(self.spent + cost).replace(",", "")
        return Refused(
            f"the cheapest plan found would cost {format_credits(cost)} credits and {format_credits(self.left)} "
            f"are left of the budget; [budget] max_credits = {enough} is enough",
            hint=f"write max_credits = {enough} under [budget], or wait for cheaper peers",
        )

    def _earns(self, first: int, end: int, price: int) -> int:
        each = sum(work(self.spec, first, end) for work in (forward_operations, backward_operations))
        return expected(each * self.spec.batch.micro_batches * self.steps, price)
