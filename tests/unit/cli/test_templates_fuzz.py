"""Whatever is written as a template, and whatever it is given: it is printed, or refused with a TemplateInvalid."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from entrepot.cli.human import created_at, created_since, parse_rfc3339
from entrepot.cli.tables import align, format_table
from entrepot.cli.templates import Record, Template, TemplateInvalid
from entrepot.cli.templates_functions import FUNCTIONS
from tests.unit.cli.test_human import NOW

WORDS = [
    *FUNCTIONS,
    *("and", "or", "not", "if", "else", "end", "range", "with", "break", "continue", "nil", "true", "define"),
    *(".", ".A", ".B", ".A.B", "$", "$x", "$x :=", "$x =", "$i, $x :=", "(", ")", "|", ",", "0", "1", "-1", "2.5", "3"),
    *('"a"', '"%d %s %v %q %[1]d"', '"%*d%-5x|%+.3f"', "`b`", "'c'", '"\\x', "'", "/*", "*/"),
]
ACTIONS = st.builds(
    lambda words, left, right: f"{{{{{left}{' '.join(words)}{right}}}}}",
    st.lists(st.sampled_from(WORDS), max_size=6),
    st.sampled_from(["", "- ", " "]),
    st.sampled_from(["", " -", " "]),
)
BLOCKS = st.sampled_from(["{{if .A}}", "{{range .}}", "{{range $i, $x := .B}}", "{{with .B}}", "{{else}}", "{{end}}"])
TEMPLATES = st.lists(ACTIONS | BLOCKS | st.text(max_size=5), max_size=8).map("".join)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("AB\x1b"), inner, max_size=3),
    max_leaves=8,
)


@given(TEMPLATES, VALUES, st.booleans())
@example('{{printf "%9999999999999d" 1}}', None, False)
@example('{{printf "%-*.*f" 99999999 99999999 1.5}}', None, False)
@example("{{range 99999999999999999999}}{{break}}{{end}}", None, False)
@example('{{printf "%c" 1114112}}', None, False)
@example('{{printf "%f" .}}', 1e308, False)
@example("{{range 3}}{{with $}}{{break}}{{end}}{{end}}", 1, False)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_render_anything_prints_or_refuses(source: str, value: Any, is_record: bool) -> None:
    value = Record(value) if is_record and isinstance(value, dict) else value
    try:
        Template(source).render(value).encode("utf-8")
    except TemplateInvalid as error:
        refusal = error.message
    else:
        refusal = ""
    assert not refusal or refusal.startswith("template parsing error: template: :")


@given(st.text())
def test_align_anything_removes_tabs_only(text: str) -> None:
    aligned = align(text)
    assert aligned.replace(" ", "") == text.replace("\t", "").replace(" ", "")


@given(st.lists(st.text(), min_size=1, max_size=4), st.data())
def test_format_table_of_anything_has_a_line_for_each_row(header: list[str], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(st.text(), min_size=len(header), max_size=len(header)), max_size=5))
    lines = format_table(["H" for _ in header], rows).split("\n")
    assert len(lines) == len(rows) + 2


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", fullmatch=True))
def test_read_any_time_gives_a_time_or_none(text: str) -> None:
    moment = parse_rfc3339(text)
    assert moment is None or moment.utcoffset() is not None
    assert created_since(text, NOW)
    assert created_at(text)
