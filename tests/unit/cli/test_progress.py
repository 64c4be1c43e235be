"""Text: as docker 28 prints it into a pipe and onto a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import threading

import pytest

from entrepot.cli.progress import Mode, Progress, progress_for
from entrepot.cli.progress_plain import JsonDisplay, PlainDisplay
from entrepot.cli.progress_tty import TerminalDisplay, bar
from entrepot.cli.progress_words import Verb
from entrepot.progress import Event, Kind, State

LAYER = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def layer(state: State, digest: str = LAYER, *, done: int = 0, total: int = 1000, note: str = "") -> Event:
    return Event(state, Kind.LAYER, digest, done=done, total=total, note=note)


def retry(kind: Kind, digest: str = "", *, seconds: float = 5.0, note: str = "connection lost") -> Event:
    return Event(State.RETRYING, kind, digest, seconds=seconds, note=note)


class Plain:
    def __init__(self, verb: Verb = "pull") -> None:
        self.stream, self.notices, self.clock = io.StringIO(), io.StringIO(), Clock()
        self.display = PlainDisplay(verb, self.stream, self.notices, self.clock)

    def show(self, *events: Event) -> str:
        for event in events:
            self.display.show(event)
        return self.stream.getvalue()

    def tick(self, seconds: float) -> str:
        self.clock.now += seconds
        self.display.tick()
        return self.notices.getvalue()


PULL = [State.PREPARING, State.STARTING, State.MOVING, State.RECEIVED, State.UNPACKING, State.DONE]


def test_show_pull_in_a_pipe_has_docker_s_lines() -> None:
    assert Plain().show(*map(layer, PULL)) == (
        "aaaaaaaaaaaa: Pulling fs layer\n"
        "aaaaaaaaaaaa: Verifying Checksum\n"
        "aaaaaaaaaaaa: Download complete\n"
        "aaaaaaaaaaaa: Pull complete\n"
    )


@pytest.mark.parametrize(
    ("verb", "events", "output"),
    [
        pytest.param("pull", [layer(State.PREPARING), layer(State.EXISTS)], "Already exists\n", id="pulled before"),
        pytest.param(
            "push",
            [layer(State.PREPARING), layer(State.WAITING), layer(State.MOVING), layer(State.DONE)],
            "Preparing\nWaiting\nPushed\n",
            id="pushed",
        ),
        pytest.param(
            "push",
            [layer(State.PREPARING), layer(State.EXISTS)],
            "Preparing\nLayer already exists\n",
            id="pushed before",
        ),
        pytest.param("push", [layer(State.MOUNTED, note="team/app")], "Mounted from team/app\n", id="mounted"),
        pytest.param("pull", [layer(State.STARTING), layer(State.FAILED)], "Pulling fs layer\n", id="pull failed"),
        pytest.param("push", [layer(State.PREPARING), layer(State.FAILED)], "Preparing\n", id="push failed"),
        pytest.param("copy", [layer(State.PREPARING), layer(State.DONE)], "Preparing\nCopied\n", id="copied"),
        pytest.param("copy", [layer(State.EXISTS)], "Already exists\n", id="copied before"),
        pytest.param("push", [layer(State.MOUNTED, note="\x1b[2J")], "Mounted from ?[2J\n", id="hostile note"),
    ],
)
def test_show_state_in_a_pipe_in_the_verb_s_words(verb: Verb, events: list[Event], output: str) -> None:
    assert Plain(verb).show(*events).replace("aaaaaaaaaaaa: ", "") == output


def test_say_in_a_pipe_begins_another_image_whose_layers_are_shown_again() -> None:
    plain = Plain()
    plain.show(layer(State.EXISTS))
    plain.display.say("v2: Pulling from team/app")
    output = plain.show(layer(State.EXISTS))
    assert output == "aaaaaaaaaaaa: Already exists\nv2: Pulling from team/app\naaaaaaaaaaaa: Already exists\n"


def test_show_configs_and_manifests_in_a_pipe_prints_nothing() -> None:
    plain = Plain()
    assert plain.show(*(Event(State.DONE, kind, LAYER) for kind in (Kind.CONFIG, Kind.MANIFEST))) == ""
    assert plain.notices.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5.0, "Retrying in 5 seconds"), (0.4, "Retrying in 1 second"), (4.2, "Retrying in 5 seconds")],
)
def test_show_retry_of_a_layer_in_a_pipe_says_when_and_why(seconds: float, words: str) -> None:
    output = Plain().show(retry(Kind.LAYER, LAYER, seconds=seconds))
    assert output == f"aaaaaaaaaaaa: {words} (connection lost)\n"


@pytest.mark.parametrize("kind", [Kind.REQUEST, Kind.CONFIG, Kind.MANIFEST])
def test_show_wait_of_a_request_is_a_notice(kind: Kind) -> None:
    plain = Plain()
    event = retry(kind, note="registry says too many requests (429)")
    assert plain.show(event) == ""
    assert plain.notices.getvalue() == "waiting 5 s: registry says too many requests (429)\n"


def test_tick_in_a_pipe_says_every_five_seconds_how_far_all_is() -> None:
    plain = Plain()
    plain.show(layer(State.EXISTS, OTHER, total=10**9), layer(State.MOVING, total=50_000_000))
    assert plain.tick(1) == ""
    plain.show(layer(State.MOVING, done=10_000_000, total=50_000_000))
    assert plain.tick(4) == "Downloading: 10MB of 50MB (20%), 2.5MB/s, 16 seconds left\n"
    assert plain.tick(1).count("\n") == 1
    assert plain.tick(5).count("\n") == 2


def test_tick_in_a_pipe_after_a_resume_does_not_count_what_was_there() -> None:
    plain = Plain()
    plain.show(layer(State.STARTING), layer(State.MOVING, done=40_000_000, total=50_000_000))
    plain.tick(1)
    plain.show(layer(State.MOVING, done=44_000_000, total=50_000_000))
    assert plain.tick(4) == "Downloading: 44MB of 50MB (88%), 1MB/s, 6 seconds left\n"


def test_tick_in_a_pipe_when_nothing_comes_says_so() -> None:
    plain = Plain("push")
    plain.show(layer(State.MOVING, done=10, total=50))
    plain.tick(1)
    assert plain.tick(5) == "Pushing: 10B of 50B (20%), 0B/s\n"


def test_tick_in_a_pipe_when_all_is_done_prints_nothing() -> None:
    plain = Plain()
    plain.show(layer(State.DONE))
    assert plain.tick(60) == ""


def test_show_json_has_every_event_with_what_it_has() -> None:
    notices = io.StringIO()
    display = JsonDisplay(io.StringIO(), notices, Clock())
    for event in (layer(State.MOVING, done=5), retry(Kind.REQUEST), Event(State.DONE, Kind.CONFIG, OTHER)):
        display.show(event)
    assert [json.loads(line) for line in notices.getvalue().splitlines()] == [
        {"state": "moving", "kind": "layer", "digest": LAYER, "done": 5, "total": 1000},
        {"state": "retrying", "kind": "request", "note": "connection lost", "seconds": 5.0},
        {"state": "done", "kind": "config", "digest": OTHER, "done": 0, "total": 0},
    ]


def test_show_json_of_bytes_twice_a_second() -> None:
    notices, clock = io.StringIO(), Clock()
    display = JsonDisplay(io.StringIO(), notices, clock)
    for done in range(100):
        display.show(layer(State.MOVING, done=done))
        clock.now += 0.125
    assert [json.loads(line)["done"] for line in notices.getvalue().splitlines()][:3] == [0, 4, 8]


# Terminals


class Screen:
    """What a terminal of this width shows after ``stream`` has been written to it."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self.size = os.terminal_size((columns, lines))
        self.stream = io.StringIO()

    def rows(self) -> list[str]:
        rows, row = [""], 0
        for piece in re.findall(r"\x1b\[(?:\d*A|2K|J)|[\r\n]|[^\x1b\r\n]+", self.stream.getvalue()):
            if piece.startswith("\x1b["):
                row = self._control(piece, rows, row)
            elif piece == "\n":
                row += 1
                rows += [""] * (row + 1 - len(rows))
            elif piece != "\r":
                assert len(piece) < self.size.columns
                rows[row] = piece
        return rows[:-1] if not rows[-1] else rows

    def _control(self, piece: str, rows: list[str], row: int) -> int:
        if piece.endswith("A"):
            return row - int(piece[2:-1])
        if piece.endswith("2K"):
            rows[row] = ""
        else:
            del rows[row + 1 :]
            rows[row] = ""
        return row


class Terminal:
    def __init__(self, verb: Verb = "pull", columns: int = 80, lines: int = 24) -> None:
        self.screen, self.clock = Screen(columns, lines), Clock()
        self.display = TerminalDisplay(verb, self.screen.stream, self.clock, lambda: self.screen.size)

    def show(self, *events: Event) -> list[str]:
        for event in events:
            self.display.show(event)
        self.clock.now += 1
        self.display.tick()
        return self.screen.rows()


def test_show_pull_on_a_terminal_updates_lines_in_place() -> None:
    terminal = Terminal()
    assert terminal.show(layer(State.PREPARING), layer(State.PREPARING, OTHER)) == [
        "aaaaaaaaaaaa: Pulling fs layer",
        "bbbbbbbbbbbb: Pulling fs layer",
    ]
    assert terminal.show(layer(State.EXISTS), layer(State.MOVING, OTHER, done=163_800, total=3_001_000)) == [
        "aaaaaaaaaaaa: Already exists",
        "bbbbbbbbbbbb: Downloading  163.8kB/3.001MB",
        "Downloading: 164kB of 3MB (5%), 0B/s",
    ]
    terminal.show(layer(State.DONE, OTHER))
    terminal.display.close()
    assert terminal.screen.rows() == ["aaaaaaaaaaaa: Already exists", "bbbbbbbbbbbb: Pull complete"]


def test_show_pull_on_a_wide_terminal_draws_a_bar() -> None:
    terminal = Terminal(columns=120)
    [line, _] = terminal.show(layer(State.MOVING, done=163_800, total=3_001_000))
    assert line == "aaaaaaaaaaaa: Downloading [==>" + " " * 48 + "]  163.8kB/3.001MB"


@pytest.mark.parametrize(
    ("done", "text"),
    [
        (0, "[>" + " " * 50 + "]       0B/1kB"),
        (500, "[" + "=" * 25 + ">" + " " * 25 + "]     500B/1kB"),
        (1000, "[" + "=" * 50 + ">]      1kB/1kB"),
        (2000, "[" + "=" * 50 + ">]      2kB"),
    ],
)
def test_draw_bar_has_fifty_cells_and_a_head(done: int, text: str) -> None:
    assert bar(done, 1000, width=111) == text


def test_show_retry_on_a_terminal_counts_down() -> None:
    terminal = Terminal()
    terminal.display.show(retry(Kind.LAYER, LAYER, note=""))
    lines = []
    for _ in range(3):
        terminal.clock.now += 1
        terminal.display.tick()
        lines.append(terminal.screen.rows()[0])
    assert lines == [f"aaaaaaaaaaaa: Retrying in {words}" for words in ("4 seconds", "3 seconds", "2 seconds")]


def test_show_wait_on_a_terminal_stays_above_the_layers() -> None:
    terminal = Terminal()
    terminal.show(layer(State.STARTING))
    assert terminal.show(retry(Kind.REQUEST)) == ["waiting 5 s: connection lost", "aaaaaaaaaaaa: Pulling fs layer"]
    assert terminal.show(layer(State.DONE)) == ["waiting 5 s: connection lost", "aaaaaaaaaaaa: Pull complete"]


def digests(count: int) -> list[str]:
    return [f"sha256:{number:064x}"[:7] + f"{number:012}" + "0" * 52 for number in range(count)]


def test_show_more_layers_than_lines_shows_those_that_are_not_finished() -> None:
    terminal = Terminal(lines=8)
    names = digests(20)
    rows = terminal.show(*(layer(State.WAITING, name) for name in names))
    assert rows == [f"{number:012}: Waiting" for number in range(5)] + ["... and 15 more layers"]
    rows = terminal.show(*(layer(State.DONE, name) for name in names[:10]), layer(State.MOVING, names[10]))
    assert rows[:10] == [f"{number:012}: Pull complete" for number in range(10)]
    assert rows[10].startswith("000000000010: Downloading")
    assert rows[15:] == ["... and 5 more layers", "Downloading: 10kB of 20kB (50%), 0B/s"]


def test_say_on_a_terminal_comes_below_the_layers_so_far() -> None:
    terminal = Terminal()
    terminal.display.say("v1: Pulling from team/app")
    terminal.show(layer(State.MOVING, done=1), layer(State.DONE))
    terminal.display.say("Digest: sha256:00")
    terminal.show(layer(State.EXISTS, OTHER))
    terminal.display.close()
    assert terminal.screen.rows() == [
        "v1: Pulling from team/app",
        "aaaaaaaaaaaa: Pull complete",
        "Digest: sha256:00",
        "bbbbbbbbbbbb: Already exists",
    ]


def test_close_on_a_terminal_leaves_every_layer_once() -> None:
    terminal = Terminal(lines=8)
    names = digests(20)
    terminal.show(*(layer(State.WAITING, name) for name in names))
    terminal.show(*(layer(State.DONE, name) for name in reversed(names)))
    terminal.display.close()
    assert terminal.screen.rows() == [f"{number:012}: Pull complete" for number in range(20)]


def test_show_on_a_terminal_that_became_narrow_goes_back_over_wrapped_lines() -> None:
    terminal = Terminal(columns=120)
    terminal.show(layer(State.MOVING, done=1))
    terminal.screen.size = os.terminal_size((40, 24))
    terminal.screen.stream.truncate(0)
    terminal.display.show(layer(State.MOVING, done=2))
    terminal.display.tick()
    assert "\x1b[4A" in terminal.screen.stream.getvalue()  # 95 columns took three rows, the summary one


def test_show_on_a_terminal_cuts_what_is_wider() -> None:
    terminal = Terminal(columns=20)
    assert terminal.show(layer(State.MOUNTED, note="a/very/long/name")) == ["aaaaaaaaaaaa: Mount"]


# Modes


class TerminalStream(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("mode", "stream", "term", "drawn"),
    [
        ("auto", TerminalStream, "xterm", True),
        ("auto", TerminalStream, "dumb", False),
        ("auto", io.StringIO, "xterm", False),
        ("tty", io.StringIO, "xterm", True),
        ("plain", TerminalStream, "xterm", False),
    ],
)
def test_choose_display_by_mode_and_terminal(
    monkeypatch: pytest.MonkeyPatch, mode: Mode, stream: type[io.StringIO], term: str, drawn: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    out = stream()
    with progress_for(mode, "pull", stream=out, notices=io.StringIO()) as progress:
        progress(layer(State.DONE))
    assert ("\x1b" in out.getvalue()) == drawn
    assert "aaaaaaaaaaaa: Pull complete\n" in out.getvalue()


def test_show_nothing_when_asked_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_for("none", "pull") as progress:
        progress(layer(State.DONE))
        progress.message("a notice")
        progress.say("a result")
    assert capsys.readouterr() == ("a result\n", "a notice\n")


def test_show_json_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_for("json", "pull") as progress:
        progress(layer(State.DONE))
        progress.say("a result")
    captured = capsys.readouterr()
    assert captured.out == "a result\n"
    assert json.loads(captured.err)["state"] == "done"


def test_warn_prints_a_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_for("plain", "pull") as progress:
        progress.warn("no helper \x1b[2J")
    assert capsys.readouterr() == ("", "Warning: no helper ?[2J\n")


class Ticking:
    """A display that lets its test know that it was asked to draw."""

    tick_seconds: float | None = 0.001

    def __init__(self, error: Exception | None = None) -> None:
        self.ticked = threading.Event()
        self.error = error
        self.is_closed = False

    def show(self, event: Event) -> None: ...
    def message(self, line: str) -> None: ...
    def say(self, line: str) -> None: ...

    def tick(self) -> None:
        self.ticked.set()
        if self.error:
            raise self.error

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize("error", [None, BrokenPipeError(), ValueError("closed")], ids=repr)
def test_progress_draws_by_itself_until_it_is_left(error: Exception | None) -> None:
    display = Ticking(error)
    before = set(threading.enumerate())
    with Progress(display):
        assert display.ticked.wait(60)
    assert display.is_closed
    assert set(threading.enumerate()) <= before


def test_progress_closes_when_the_transfer_fails() -> None:
    display = Ticking()
    with pytest.raises(KeyboardInterrupt), Progress(display):
        raise KeyboardInterrupt
    assert display.is_closed
