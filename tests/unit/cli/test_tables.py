"""Expected text: what docker 28 printed, trailing blanks included."""

from __future__ import annotations

import pytest

from entrepot.cli.tables import align, format_table


def test_format_table_of_images_is_docker_s() -> None:
    header = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    rows = [
        ["127.0.0.1:6700/team/app", "v1", "eb3a91a050ed", "16 seconds ago", "3.3MB"],
        ["<none>", "<none>", "638dcc55f9f9", "18 seconds ago", "300kB"],
    ]
    assert format_table(header, rows) == (
        "REPOSITORY                TAG       IMAGE ID       CREATED          SIZE\n"
        "127.0.0.1:6700/team/app   v1        eb3a91a050ed   16 seconds ago   3.3MB\n"
        "<none>                    <none>    638dcc55f9f9   18 seconds ago   300kB\n"
    )


def test_format_table_whose_last_cell_is_empty_pads_the_one_before() -> None:
    table = format_table(["SIZE", "COMMENT"], [["0B", ""], ["3MB", "x"]])
    assert table == "SIZE      COMMENT\n0B        \n3MB       x\n"


def test_format_table_without_rows_is_its_header() -> None:
    assert format_table(["REPOSITORY", "TAG", "SIZE"], []) == "REPOSITORY   TAG       SIZE\n"


def test_format_table_counts_characters_not_bytes() -> None:
    assert format_table(["A", "B"], [["12345678…", "x"]]) == "A           B\n12345678…   x\n"


@pytest.mark.parametrize(
    ("cell", "shown"),
    [("a\tb", "a b"), ("a\nb", "a b"), ("\x1b[2J", "?[2J"), ("\x9b2J", "?2J"), ("\ud800", "?"), ("è\u00a0", "è\u00a0")],
    ids=repr,
)
def test_format_table_with_control_characters_makes_them_harmless(cell: str, shown: str) -> None:
    assert format_table(["A"], [[cell]]) == f"A\n{shown}\n"


def test_align_begins_new_columns_after_a_line_without_them() -> None:
    text = "a long first cell\tb\nno cells\nc\td\n"
    assert align(text) == "a long first cell   b\nno cells\nc         d\n"


def test_align_of_columns_inside_columns() -> None:
    text = "1\t2 is long enough\t3\n1\t2\n1\tx\t3\n"
    assert align(text) == "1         2 is long enough   3\n1         2\n1         x         3\n"


def test_align_with_thousands_of_columns() -> None:
    assert align("\t" * 5000 + "\n") == " " * 50_000 + "\n"
