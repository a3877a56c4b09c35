"""The dashboard as text: golden pictures, and what must be on a screen of any size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from swarmd.cli import panels, views
from swarmd.cli.pace import idle_share, slowest
from swarmd.cli.strip import strip
from swarmd.cli.views import Screen, events
from swarmd.protocols.control import EventView
from tests.cli import golden, snapshots

NAMES = sorted(path.name for path in golden.FOLDER.glob("*.txt"))


def test_the_events_are_those_of_the_shown_run_and_of_the_node_since_it_began() -> None:
    run = snapshots.training()
    texts = {"own": run.run, "another's": "f" * 64, "before": "", "since": ""}
    past = {"before": run.created - 1, "since": run.created + 1}
    seen = tuple(EventView(time=past.get(text, 0.0), level="info", run=of, text=text) for text, of in texts.items())
    picture = replace(snapshots.snapshot(run), events=seen)
    assert [event.text for event in events(picture)] == ["own", "since"]
    assert events(replace(picture, run=None)) == seen


def test_every_picture_is_as_it_was() -> None:
    drawn = golden.pictures()
    assert sorted(drawn) == NAMES
    for name, picture in drawn.items():
        assert picture == (golden.FOLDER / name).read_text(encoding="utf-8"), f"{name}: see tests/cli/golden.py"


@pytest.mark.parametrize("size", [(40, 10), (60, 15), (80, 24), (100, 30), (140, 40), (220, 60)])
@pytest.mark.parametrize("name", golden.RUNS)
def test_a_picture_fills_its_screen_and_no_more(name: str, size: tuple[int, int]) -> None:
    lines = golden.draw(golden.RUNS[name], Screen(), *size).splitlines()
    assert len(lines) == size[1]
    assert {len(line) for line in lines} == {size[0]}


def test_a_small_screen_still_shows_the_header_and_the_loss() -> None:
    small = golden.draw(snapshots.training(), Screen(), 60, 15)
    for text in ("tiny-stories", "240 / 1,000", "2.3412", "12,342", "loss", "held out", "goes on"):
        assert text in small
    for text in ("pipeline", "stages", "events"):
        assert text not in small


def test_panels_go_in_order_as_the_screen_shrinks() -> None:
    def shown(width: int, height: int) -> list[str]:
        picture = golden.draw(snapshots.training(), Screen(), width, height)
        return [title for title in ("loss", "pipeline", "stages", "events", "peers") if f"╭─ {title} " in picture]

    assert shown(140, 40) == ["loss", "pipeline", "stages", "events", "peers"]
    assert shown(100, 30) == ["loss", "pipeline", "stages", "events"]
    assert shown(99, 30) == ["loss", "pipeline", "stages"]
    assert shown(80, 24) == ["loss", "pipeline"]
    assert shown(60, 15) == ["loss"]


def test_the_first_frame_needs_no_data() -> None:
    console = Console(width=80, height=24, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(views.render(None, Screen(), 80, 24), height=24)
    assert "connecting to the daemon" in console.export_text()
    console.file.close()


def test_the_footer_says_that_the_run_goes_on_while_it_does() -> None:
    assert "(the run goes on)" in views.footer(Screen(), snapshots.training(), 100).plain
    assert "goes on" not in views.footer(Screen(), snapshots.done(), 100).plain
    assert views.footer(Screen(paused=True), None, 100).plain.startswith(" paused ")
    assert views.footer(Screen(notice="no news for 12 s"), None, 100).plain.startswith(" no news")


def test_the_last_word() -> None:
    assert views.last_word(snapshots.failed()).endswith("failed: stage 1 was lost and no spare peer has 9.1 GiB free")


def test_the_slowest_stage_is_the_one_that_clearly_takes_longest() -> None:
    stages = snapshots.training().stages
    assert slowest(stages) == 2
    assert slowest(stages[:1]) is None
    level = tuple(replace(stage, forward_ms=10.0, backward_ms=20.0) for stage in stages)
    assert slowest(level) is None
    assert slowest(tuple(replace(stage, forward_ms=0.0, backward_ms=0.0) for stage in stages)) is None


def test_the_idle_share_is_what_the_stages_do_not_compute() -> None:
    assert idle_share(snapshots.training().stages) == pytest.approx(0.3)
    assert idle_share(()) is None


def test_the_strip_shows_boxes_with_the_link_on_the_arrow() -> None:
    lines = strip(snapshots.training().stages, 96, tall=True).plain.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("╭─ 0 attic ─")
    assert "38.2" in lines[1]
    assert "▶" in lines[2]
    assert "Mbit/s" in lines[3]
    assert "slowest" in lines[4]
    assert max(map(len, lines)) <= 96


def test_the_strip_of_many_stages_flows() -> None:
    many = tuple(replace(snapshots.stage(index % 3), index=index) for index in range(12))
    text = strip(many, 96, tall=True).plain
    assert "\n" not in text
    assert text.count("▶") == 11


def test_the_strip_draws_the_replicas_of_a_stage_as_one_box() -> None:
    first, second, _ = snapshots.training().stages
    lines = strip((first, replace(second, index=0), replace(second, index=1)), 96, tall=True).plain.splitlines()
    assert "0 attic \u00d72" in lines[0]
    assert "76.1" in lines[1]


def test_an_arrow_without_traffic_has_no_figure() -> None:
    first, second, _ = snapshots.training().stages
    lines = strip((replace(first, link_mbit=0.0), second), 96, tall=True).plain.splitlines()
    assert "Mbit/s" not in lines[3]
    assert "▶" in lines[2]


def test_a_strip_without_stages_says_so() -> None:
    assert "no stage" in strip((), 96, tall=True).plain


def test_panels_with_more_than_fits_say_how_much_more() -> None:
    console = Console(width=60, color_system=None, file=open("/dev/null", "w"), record=True)  # noqa: SIM115
    console.print(panels.peer_list([snapshots.peer(index) for index in range(3)], "", 2))
    console.print(panels.stage_table(snapshots.training().stages, 60, 1))
    console.print(panels.event_log((), 3))
    console.print(panels.peer_list((), "", 2))
    text = console.export_text()
    console.file.close()
    for expected in ("1 more: 3", "2 more: 2", "nothing has happened yet", "none yet"):
        assert expected in text
