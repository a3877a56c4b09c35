"""A round among machines: whoever dies or lies, those who adopt hold the same."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.averaging.model import Values, World, plan_of


def everything(world: World) -> bool:
    return all(outcome.contributors == (0, 1, 2, 3) for outcome in next(iter(world.adopted.values())).outcomes)


def test_an_undisturbed_round_takes_everybodys_values():
    world = World(plan_of([1, 1, 1, 1]))
    world.start()
    world.run()
    assert set(world.adopted) == {0, 1, 2, 3}
    assert everything(world)
    assert world.now == 0


def test_a_member_of_weight_zero_gets_the_average_and_gives_nothing():
    world = World(plan_of([1, 0, 1, 1], [1, 1, 1, 0]))
    world.start()
    world.run()
    assert set(world.adopted) == {0, 1, 2, 3}
    assert {outcome.contributors for outcome in world.adopted[0].outcomes} == {(0, 2, 3)}
    assert len(world.adopted[0].outcomes) == 3


def test_an_owner_that_tells_everybody_another_result_is_found_out():
    world = World(plan_of([1, 1, 1, 1]), liars=frozenset({2}))
    world.start()
    world.run()
    assert set(world.adopted) == {0, 1, 2, 3}
    commit = world.adopted[0]
    assert commit.suspects == (2,)
    assert commit.outcomes[2].owner == 0
    assert everything(world)


def test_a_member_that_misreports_the_leaders_own_results_is_left_out():
    world = World(plan_of([1, 1, 1, 1]))
    world.start()
    while world.open():
        for queue in world.queues.values():
            for at, item in enumerate(queue):
                if type(item).__name__ == "Have" and queue is world.queues[3, 0]:
                    queue[at] = type(item)(item.round, item.slice, item.attempt, item.contributors, b"x" * 32)
        world.sum_next() if world.sums else world.move(world.movable()[0])
    assert set(world.adopted) == {0, 1, 2}
    assert "left us out" in world.failed[3]


def test_a_result_with_impossible_values_is_made_again_by_another():
    world = World(plan_of([1, 1, 1, 1]))
    world.start()
    while world.open():
        queue = world.queues[3, 1]
        if queue and isinstance(queue[0], Values) and queue[0].attempt == 0:
            queue[0] = Values(queue[0].slice, 0, None)
        world.sum_next() if world.sums else world.move(world.movable()[0])
    assert set(world.adopted) == {0, 1, 2, 3}
    assert world.adopted[0].outcomes[3].owner != 3


def test_whoever_is_not_there_in_time_is_left_out():
    world = World(plan_of([1, 1, 1, 1]))
    for place in (0, 1, 3):
        world.act(place, world.members[place].start())
        world.move((place, 0))
    world.tick(5.0)
    world.act(2, world.members[2].start())
    world.run()
    assert set(world.adopted) == {0, 1, 3}
    assert set(world.failed) == {2}
    assert {outcome.contributors for outcome in world.adopted[0].outcomes} == {(0, 1, 3)}


def test_a_silent_member_holds_up_a_round_no_longer_than_the_leaders_patience():
    world = World(plan_of([1, 1, 1, 1]))
    world.start()
    for _ in range(400):
        links = [link for link in world.movable() if link[0] != 3 or (len(world.queues[link]) and world.now == 0)]
        silent = [link for link in links if link[0] != 3 or type(world.queues[link][0]).__name__ == "Ready"]
        if world.sums and world.sums[0][0] == 3:
            world.sums.pop(0)
        elif world.sums:
            world.sum_next()
        elif silent:
            world.move(silent[0])
        elif world.open() - {3}:
            world.tick(1.0)
    assert set(world.adopted) == {0, 1, 2}
    assert world.now <= 100


def test_without_a_leader_nobody_adopts():
    world = World(plan_of([1, 1, 1, 1]))
    world.start()
    for _ in range(10):
        world.move(world.movable()[0])
    world.kill(0, 0)
    world.run()
    assert not world.adopted
    assert set(world.failed) == {1, 2, 3}


def test_two_members_that_cannot_reach_each_other_both_have_the_result():
    world = World(plan_of([1, 1, 1, 1]))
    world.cut_link(2, 3)
    world.start()
    world.run()
    assert set(world.adopted) == {0, 1, 2, 3}


def test_a_commit_of_what_a_member_does_not_hold_is_not_adopted():
    world = World(plan_of([1, 1, 1]))
    world.start()
    lied = False
    while world.open():
        queue = world.queues[0, 1]
        if queue and type(queue[0]).__name__ == "Commit" and not lied:
            lied, commit = True, queue[0]
            digest = hashlib.sha256(b"other").digest()
            first = type(commit.outcomes[0])(0, 0, (0, 1, 2), digest)
            queue[0] = type(commit)(commit.round, commit.members, (first, *commit.outcomes[1:]), ())
        world.sum_next() if world.sums else world.move(world.movable()[0]) if world.movable() else world.tick(1)
    assert "do not hold" in world.failed[1]
    world.check()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_kills_cut_links_and_any_order_between_links(data: st.DataObject):
    count = data.draw(st.integers(1, 5))
    weights = [1, *(data.draw(st.integers(0, 2)) for _ in range(count - 1))]
    shares = [data.draw(st.integers(0, 3)) for _ in range(count - 1)] + [1]
    liars = frozenset(data.draw(st.lists(st.integers(1, count), max_size=1)))
    world = World(plan_of(weights, shares), liars=liars)
    world.start()
    kills = data.draw(st.lists(st.integers(0, count - 1), max_size=2))
    cuts = data.draw(st.integers(0, 1)) if count > 2 else 0
    for _ in range(data.draw(st.integers(0, 150))):
        choice = data.draw(st.integers(0, 19))
        if choice == 0 and kills:
            victim = kills.pop()
            if victim not in world.dead:
                world.kill(victim, data.draw(st.integers(0, 3)))
        elif choice == 1 and cuts:
            cuts = 0
            world.cut_link(1, 2)
        elif choice == 2 and data.draw(st.booleans()):
            world.tick(1.0)
        elif world.sums and choice < 8:
            world.sum_next()
        elif links := world.movable():
            world.move(data.draw(st.sampled_from(links)))
    world.run()
    world.check()
    survivors = set(world.places) - world.dead
    assert survivors == (set(world.adopted) | set(world.failed)) - world.dead
    if not world.dead and not world.cut:
        assert set(world.adopted) == survivors
    if 0 not in world.dead and not world.cut:
        assert set(world.adopted) - world.dead == survivors
    if len(world.dead) == 1 and not world.cut:
        assert not (set(world.adopted) & survivors and set(world.failed) & survivors)
