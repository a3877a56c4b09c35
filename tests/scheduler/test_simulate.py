"""The simulator against what is known in closed form, and against its own bounds. Time here is a number."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.scheduler.simulate import Chooser, simulate
from swarmd.scheduler.simulated import MAX_NODES, Node, Outcome, Pipeline


def node(name: str, compute: float = 3.0, credit: int = 64, **more: float) -> Node:
    return Node(name=name, forward=compute / 3, backward=compute * 2 / 3, credit=credit, **more)


def pipeline(
    *stages: tuple[Node, ...], micro_batches: int = 8, steps: int = 3, size: int = 0, asynchronous: bool = False
) -> Pipeline:
    return Pipeline(
        stages=stages,
        micro_batches=micro_batches,
        steps=steps,
        forward_bytes=size,
        backward_bytes=size,
        asynchronous=asynchronous,
    )


def chain(*nodes: Node, **more: int) -> Pipeline:
    return pipeline(*((each,) for each in nodes), **more)


def near(a: str, b: str) -> float:
    return 0.0


def far(a: str, b: str) -> float:
    return 1.5


class TestAlone:
    def test_one_stage_is_the_plain_loop(self):
        outcome = simulate(chain(node("a", 3.0, commit=1.0)), near)
        assert outcome.ends == (25.0, 50.0, 75.0)
        assert outcome.step_seconds == 25.0
        assert outcome.uses[0][0].computing == 1.0
        assert outcome.uses[0][0].micro_batches == 24

    def test_a_single_step_has_no_warm_part(self):
        assert simulate(chain(node("a"), steps=1), near).step_seconds == 24.0


class TestAsynchronous:
    @pytest.mark.parametrize("stages", [2, 4])
    def test_with_few_micro_batches_nothing_is_lost_between_steps(self, stages):
        """The bound is one micro-batch a period. A synchronous step of four micro-batches over four stages gets 4/7."""
        nodes = [node(str(n), credit=2 * stages) for n in range(stages)]
        sync = simulate(chain(*nodes, micro_batches=stages, steps=40), near)
        stale = simulate(chain(*nodes, micro_batches=stages, steps=40, asynchronous=True), near)
        assert sync.step_seconds == pytest.approx(3.0 * (2 * stages - 1))
        assert 3.0 * stages / stale.step_seconds > 0.99

    def test_a_link_s_delay_is_hidden_by_the_credit_without_more_micro_batches(self):
        nodes = [node(str(n), credit=12) for n in range(4)]
        slow, fast = (
            simulate(chain(*nodes, micro_batches=8, steps=60, asynchronous=stale), far) for stale in (False, True)
        )
        assert 24.0 / slow.step_seconds < 0.6
        assert 24.0 / fast.step_seconds > 0.99
        assert max(use.held for stage in fast.uses for use in stage) <= 12

    def test_replicas_commit_together_and_so_cannot_be(self):
        with pytest.raises(ValueError, match="commit together"):
            pipeline((node("a"), node("b")), (node("c"),), asynchronous=True)


class TestChain:
    @pytest.mark.parametrize("stages", [2, 4, 7])
    def test_equal_stages_without_links_give_the_textbook_efficiency(self, stages):
        """Filling costs as many micro-batches as there are stages, less one (Huang et al., arXiv 1811.06965)."""
        outcome = simulate(chain(*(node(str(n)) for n in range(stages)), micro_batches=32), near)
        assert outcome.step_seconds == pytest.approx(3.0 * (32 + stages - 1))

    def test_more_credit_hides_a_round_trip(self):
        steps = [
            simulate(chain(*(node(str(n), credit=credit) for n in range(3)), micro_batches=64), far).step_seconds
            for credit in (2, 4, 8)
        ]
        assert steps[0] > steps[1] > steps[2]

    def test_the_most_held_is_within_the_credit(self):
        outcome = simulate(chain(node("a", credit=3), node("b", credit=2)), far)
        assert [use.held for (use,) in outcome.uses] == [3, 1]

    def test_a_slow_uplink_sets_the_pace(self):
        outcome = simulate(chain(node("a", uplink=100.0), node("b"), micro_batches=64, size=1000), near)
        assert outcome.step_seconds == pytest.approx(64 * 10.0, rel=0.03)
        assert outcome.uses[0][0].sending > 0.95

    def test_a_middle_stage_sends_both_ways_on_one_uplink(self):
        outcome = simulate(chain(node("a"), node("b", uplink=100.0), node("c"), micro_batches=64, size=500), near)
        assert outcome.step_seconds == pytest.approx(64 * 10.0, rel=0.03)

    def test_a_slow_downlink_sets_the_pace_too(self):
        outcome = simulate(chain(node("a"), node("b", downlink=100.0), micro_batches=64, size=1000), near)
        assert outcome.step_seconds == pytest.approx(64 * 10.0, rel=0.03)

    def test_gradients_leave_before_activations(self):
        """The activations of micro-batch 2 wait at the middle stage when the gradient of micro-batch 0 is made."""
        slow = node("b", 1e-9, uplink=1.0)
        outcome = simulate(chain(node("a", 1e-9), slow, node("c", 1e-9), micro_batches=3, steps=1, size=1), near)
        assert outcome.ends[0] == pytest.approx(6.0)

    def test_a_message_takes_its_bytes_and_half_a_round_trip(self):
        pair = chain(node("a", uplink=10.0), node("b", uplink=20.0), micro_batches=1, steps=1, size=20)
        assert simulate(pair, far).ends == (pytest.approx(3.0 + 2.0 + 1.5 + 3.0 + 1.0 + 1.5),)


class Columns:
    """Micro-batch i goes to replica i modulo their number, whatever they can do."""

    def __init__(self, service, windows):
        self._count = len(service)

    def choose(self, item):
        return item[1] % self._count

    def returned(self, item, replica):
        pass


def share_of_capacity(flow: Pipeline, chooser: type[Chooser] | None = None) -> float:
    outcome = simulate(flow, lambda a, b: 0.01, **({"chooser": chooser} if chooser else {}))
    return flow.micro_batches * max(map(flow.period, range(len(flow.stages)))) / outcome.step_seconds


class TestReplicas:
    def test_over_four_uneven_replicas_routing_reaches_their_joint_capacity_where_columns_do_not(self):
        uneven = tuple(node(f"r{speed}", 0.3 / speed, credit=8) for speed in (1, 2, 4, 8))
        flow = pipeline((node("a", 0.003),), uneven, (node("z", 0.003),), micro_batches=128, size=1000)
        assert share_of_capacity(flow) > 0.93
        assert share_of_capacity(flow, Columns) < 0.27

    def test_uplinks_count_as_compute_does(self):
        uneven = tuple(node(f"r{speed}", 0.02, credit=8, uplink=100.0 * speed) for speed in (1, 2, 4, 8))
        flow = pipeline((node("a", 0.003),), uneven, (node("z", 0.003),), micro_batches=128, size=15)
        assert share_of_capacity(flow) > 0.85
        assert share_of_capacity(flow, Columns) < 0.3

    def test_every_stage_may_have_replicas_the_ends_too(self):
        stages = [tuple(node(f"{s}-{n}", 0.1 * n, credit=16) for n in (1, 2, 3)) for s in range(3)]
        flow = pipeline(*stages, micro_batches=128, steps=4)
        assert share_of_capacity(flow) > 0.85
        counts = [sum(use.micro_batches for use in stage) for stage in simulate(flow, near).uses]
        assert counts == [4 * 128] * 3

    def test_replicas_commit_together(self):
        both = (node("a", 1.0), node("b", 1.0, commit=5.0))
        assert simulate(pipeline(both, micro_batches=2, steps=2), near).ends == (6.0, 12.0)

    def test_forwards_of_the_next_step_wait_while_replicas_still_commit(self):
        slow = (node("b", 1.0, commit=50.0), node("c", 1.0, commit=50.0))
        outcome = simulate(pipeline((node("a", 1.0),), slow, micro_batches=2, steps=2), near)
        assert outcome.ends == (pytest.approx(1 + 2 / 3 + 50), pytest.approx(2 + 2 / 3 + 100))

    def test_fewer_micro_batches_than_replicas_is_no_trouble(self):
        many = tuple(node(f"n{n}") for n in range(5))
        assert simulate(pipeline(many, micro_batches=2, steps=2), near).ends == (3.0, 6.0)


times = st.sampled_from([0.0, 0.5, 1.0, 3.0])


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_pipeline_ends_in_order_no_faster_than_its_slowest_stage_and_always_alike(data):
    def draw(name: str) -> Node:
        links = data.draw(st.sampled_from([{}, {"uplink": 10.0}, {"uplink": 50.0, "downlink": 20.0}]))
        credit = data.draw(st.integers(1, 4))
        commit = data.draw(times)
        return node(name, data.draw(st.sampled_from([0.5, 1.0, 4.0])), credit=credit, commit=commit, **links)

    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    stages = [tuple(draw(f"{s}-{r}") for r in range(count)) for s, count in enumerate(shape)]
    flow = pipeline(*stages, micro_batches=data.draw(st.integers(1, 6)), steps=data.draw(st.integers(1, 4)), size=10)
    delay = data.draw(times)
    outcome: Outcome = simulate(flow, lambda a, b: delay)
    assert len(outcome.ends) == flow.steps
    assert all(a <= b for a, b in pairwise(outcome.ends))
    done = flow.steps * flow.micro_batches
    for number, stage in enumerate(outcome.uses):
        assert sum(use.micro_batches for use in stage) == done
        assert all(use.held <= each.credit for use, each in zip(stage, flow.stages[number], strict=True))
        assert all(0 <= share <= 1 + 1e-9 for use in stage for share in (use.computing, use.sending))
    assert simulate(flow, lambda a, b: delay) == outcome


class TestLimits:
    @pytest.mark.parametrize("more", [{"forward": -1.0}, {"credit": 0}, {"uplink": float("inf")}])
    def test_an_impossible_node(self, more):
        with pytest.raises(ValueError, match="impossible"):
            Node(**{"name": "a", "forward": 1.0, "backward": 1.0, "credit": 1, **more})

    @pytest.mark.parametrize(
        ("stages", "more", "words"),
        [
            ([], {}, "one or more peers"),
            ([()], {}, "one or more peers"),
            ([(node("a"),), (node("a"),)], {}, "named once"),
            ([tuple(node(str(n)) for n in range(MAX_NODES + 1))], {}, "peers"),
            ([(node("a"),)], {"micro_batches": 0}, "micro-batches"),
            ([(node("a"),)], {"steps": 10_001}, "steps"),
            ([(node("a"),)], {"steps": 10_000, "micro_batches": 1000}, "simulate fewer"),
            ([(node("a"),)], {"size": -1}, "negative"),
        ],
    )
    def test_an_impossible_pipeline(self, stages, more, words):
        with pytest.raises(ValueError, match=words):
            pipeline(*stages, **more)

    def test_a_node_without_work_has_no_period(self):
        free = chain(node("a", 0.0))
        assert free.period(0) == 0.0
        assert simulate(free, near).uses[0][0].computing == 0.0
