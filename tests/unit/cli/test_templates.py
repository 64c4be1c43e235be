"""What is printed here was compared with Go 1.26's text/template and docker 28's functions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from entrepot.cli import templates
from entrepot.cli.templates import Record, Template, TemplateInvalid, format_document, format_rows

VALUE: dict[str, Any] = {
    "ID": "sha256:abc",
    "Size": 1234567,
    "Ratio": 1.5,
    "Large": 2.5e25,
    "Yes": True,
    "Nil": None,
    "Env": ["A=1", "B=2"],
    "Labels": {"b": "2", "a": "1"},
    "Empty": [],
    "Blank": "",
    "Nest": {"X": {"Y": [1, 2, {"Z": "deep"}]}},
    "Text": "é…<&'\"",
    "Mixed": {"k": [1, "x", None, True, 1.25]},
}


def render(source: str, value: Any = VALUE) -> str:
    return Template(source).render(value)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("{{.ID}} {{.Size}} {{.Ratio}} {{.Yes}}", "sha256:abc 1234567 1.5 true"),
        ("{{.Large}} {{1000000.0}} {{123456.5}} {{1e-5}}", "2.5e+25 1e+06 123456.5 1e-05"),
        ("{{.Nil}} {{.Absent}} {{.Absent.Deeper}}", "<no value> <no value> <no value>"),
        ("{{.Env}} {{.Labels}} {{.Empty}}", "[A=1 B=2] map[a:1 b:2] []"),
        ("{{.Nest}}", "map[X:map[Y:[1 2 map[Z:deep]]]]"),
        ("{{.Mixed}}", "map[k:[1 x <nil> true 1.25]]"),
        ("{{.Nest.X.Y}} {{(.Nest).X}} {{$.Size}}", "[1 2 map[Z:deep]] map[Y:[1 2 map[Z:deep]]] 1234567"),
        ("{{json .Mixed}} {{.Env | json}}", '{"k":[1,"x",null,true,1.25]} ["A=1","B=2"]'),
        ("{{json .Text}} {{json 3.0}} {{json .Absent}}", '"é…<&\'\\"" 3 null'),
    ],
)
def test_render_value_as_go_prints_it(source: str, output: str) -> None:
    assert render(source) == output


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("{{range .Env}}{{.}},{{else}}none{{end}}", "A=1,B=2,"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Nil}}x{{else}}none{{end}}", "none"),
        ("{{range $i, $e := .Env}}{{if $i}}, {{end}}{{$e}}{{end}}", "A=1, B=2"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
        ("{{range $v := .Env}}{{$v}}{{end}}", "A=1B=2"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ('{{range .Env}}{{if eq . "A=1"}}{{continue}}{{end}}{{.}}{{break}}{{end}}', "B=2"),
        ("{{if .Blank}}a{{else if .ID}}b{{else}}c{{end}}", "b"),
        ("{{if .Blank}}a{{else if .Nil}}b{{else}}c{{end}}", "c"),
        ("{{if not .Blank}}y{{end}}{{if and .Yes (not .Blank)}}z{{end}}", "yz"),
        ("{{if gt (len .Env) 1}}many{{end}}", "many"),
        ("{{with .Nest.X}}{{.Y}}{{$.ID}}{{else}}no{{end}}", "[1 2 map[Z:deep]]sha256:abc"),
        ("{{with .Blank}}x{{else with .ID}}{{.}}{{end}}", "sha256:abc"),
        ("{{with $x := .ID}}{{$x}}{{end}}", "sha256:abc"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
    ],
)
def test_render_block_follows_its_condition(source: str, output: str) -> None:
    assert render(source) == output


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ('{{index .Env 1}} {{index .Labels "a"}} {{index .Nest "X" "Y" 2 "Z"}}', "B=2 1 deep"),
        ("{{(index .Nest.X.Y 2).Z}} {{index .ID 0}}", "deep 115"),
        ('[{{index .Labels "absent"}}]', "[]"),
        ('[{{index .Mixed "absent"}}]', "[<no value>]"),
        ("{{len .Env}} {{len .Text}} {{len .Labels}}", "2 9 2"),
        ('{{join .Env ", "}} {{split .ID ":"}}', "A=1, B=2 [sha256 abc]"),
        ('{{upper .ID}} {{lower "ABC"}} {{title "hello foo-bar it\'s"}}', "SHA256:ABC abc Hello Foo-Bar It'S"),
        ('{{pad .ID 1 2}}|{{pad "" 1 2}}|{{truncate .ID 6}}|{{truncate .ID 99}}', " sha256:abc  ||sha256|sha256:abc"),
        ('{{.ID | printf "%s-%s" "x"}} {{.ID | upper | len}}', "x-sha256:abc 10"),
        ("{{eq .Size 1234567}} {{eq 1 2 3 1}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}}", "true true true true true"),
        ('{{gt 1 2}} {{ge 2 2}} {{lt "a" "b"}} {{lt 1 1.5}} {{eq .Nil nil}}', "false true true true true"),
        ('{{and 1 0 2}} {{or 0 "" "x"}} {{not 1}} {{or .Yes (index .Env 9)}}', "0 x false true"),
        ("{{slice .ID 7}} {{slice .ID 0 3}} {{slice .Env 1}}", "abc sha [B=2]"),
        (
            '{{print 1 2 "a" "b" 3 4}}|{{print .Nil .Yes}}|{{println "a" 1}}|',
            "1 2ab3 4|<nil> true|a 1\n|",
        ),
        ("{{html .Text}}", "é…&lt;&amp;&#39;&#34;"),
        ('{{js "it\'s <b> = &\\n"}}', "it\\'s \\u003Cb\\u003E \\u003D \\u0026\\u000A"),
        ('{{urlquery "a b&c/é~"}}', "a+b%26c%2F%C3%A9~"),
    ],
)
def test_call_function_gives_what_go_gives(source: str, output: str) -> None:
    assert render(source) == output


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ('"%s %d %v %q %t" .ID .Size .Env .ID .Yes', 'sha256:abc 1234567 [A=1 B=2] "sha256:abc" true'),
        (
            '"%5d|%-5d|%05d|%x|%X|%o|%b|%+d|%c|%U" 42 42 42 255 255 8 5 3 65 65',
            "   42|42   |00042|ff|FF|10|101|+3|A|U+0041",
        ),
        ('"%10s|%-10s|%.2s|%q|%x" "ab" "ab" "abcd" "a\\nb" "hi"', '        ab|ab        |ab|"a\\nb"|6869'),
        ('"%.2f %8.3f %e %g" 3.14159 2.5 12345.678 1.5', "3.14    2.500 1.234568e+04 1.5"),
        ('"%08.3f|%+.1f|%*d" -3.14159 2.0 6 42', "-003.142|+2.0|    42"),
        ('"%q %d" .Env .Nest.X.Y', '["A=1" "B=2"] [1 2 map[%!d(string=Z):%!d(string=deep)]]'),
        ('"%d" "x"', "%!d(string=x)"),
        ('"%d"', "%!d(MISSING)"),
        ('"x" 1', "x%!(EXTRA int=1)"),
        ('"%z%%%" 1', "%!z(int=1)%%!(NOVERB)"),
        ('"%s|%v|%d" nil nil nil', "%!s(<nil>)|<nil>|%!d(<nil>)"),
        ('"%T %T" 1 "a"', "int string"),
    ],
)
def test_print_with_directives_as_go_does(source: str, output: str) -> None:
    assert render(f"{{{{printf {source}}}}}") == output


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ('a  {{- " b " -}}  c', "a b c"),
        ("a {{- /* comment */ -}} c", "ac"),
        ("a {{/* {{comment}} */}} c", "a  c"),
        ('{{"q\\"uo\\tte\\u00e9\\x41\\101"}}', 'q"uo\tteéAA'),
        ("{{`raw\\n`}} {{'a'}} {{0x1F}} {{1_000}} {{-3}} {{.5}} {{017}}", "raw\\n 97 31 1000 -3 0.5 15"),
        ("{{.ID}}}}", "sha256:abc}}"),
        ("{{ \n.ID\n}}", "sha256:abc"),
        ("", ""),
    ],
)
def test_read_template_text_and_constants(source: str, output: str) -> None:
    assert render(source) == output


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{", ":1: unclosed action"),
        ("\n{{.ID", ":2: unclosed action"),
        ('{{"abc}}', ":1: unterminated quoted string"),
        ("{{1a}}", ':1: bad number syntax: "1a"'),
        ("{{.ID ! }}", ":1: unexpected '!' in action"),
        ("{{foo}}", ':1:2: function "foo" not defined'),
        ("{{$y}}", ':1:2: undefined variable "$y"'),
        ("{{range $x := .Env}}{{end}}{{$x}}", ':1:29: undefined variable "$x"'),
        ("{{if}}x{{end}}", ":1:4: missing value for if"),
        ("{{}}", ":1:2: missing value for command"),
        ("{{.ID | }}", ":1:8: missing value for command"),
        ("{{end}}", ":1: unexpected {{end}}"),
        ("{{else}}", ":1: unexpected {{else}}"),
        ("{{if .ID}}", ":1: unexpected EOF"),
        ("{{if .ID}}{{else}}", ":1: unexpected EOF"),
        ("{{if .ID}}{{else}}{{else}}{{end}}", ":1: unexpected {{else}}"),
        ("{{break}}", ":1:2: {{break}} outside {{range}}"),
        ("{{(.ID}}", ":1:6: unclosed left paren"),
        ("{{.ID)}}", ':1:5: unexpected ")"'),
        ("{{.ID.}}", ':1:5: unexpected "." in operand'),
        ('{{"a".B}}', ':1:5: unexpected ".B" after "a"'),
        ('{{"a" | "b"}}', ":1:8: non executable command in pipeline stage 2"),
        ('{{define "x"}}a{{end}}', ":1:2: {{define}} is not supported"),
        ("{{range $a, $b .Env}}{{end}}", ":1:8: range can only declare variables with :="),
        ("{{" + "(" * 1000 + ".ID", ":1:53: nested more than 50 deep"),
        ("{{if .ID}}" * 1000, ":1:502: nested more than 50 deep"),
        ("x" * 70_000, ":1: expected at most 65536 characters, got 70000"),
    ],
    ids=lambda text: text[:20],
)
def test_read_template_that_is_none_is_refused(source: str, problem: str) -> None:
    with pytest.raises(TemplateInvalid) as refused:
        Template(source)
    assert refused.value.message == f"template parsing error: template: {problem}"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{index .Env 7}}", ':1:2: executing "" at <index .Env 7>: error calling index: index out of range: 7'),
        ("{{index .Nil 1}}", ':1:2: executing "" at <index .Nil 1>: error calling index: index of untyped nil'),
        ("{{len 3}}", ':1:2: executing "" at <len 3>: error calling len: len of type int'),
        (
            '{{eq 1 "a"}}',
            ':1:2: executing "" at <eq 1 "a">: error calling eq: incompatible types for comparison: int and string',
        ),
        ("{{eq .Yes 1}}", "incompatible types for comparison: bool and int"),
        ("{{eq .Env .Env}}", "error calling eq: non-comparable type []interface {}"),
        ("{{lt true false}}", "error calling lt: invalid type for comparison"),
        ("{{slice .ID 5 2}}", "error calling slice: invalid slice index: 5 > 2"),
        ("{{upper}}", "wrong number of args for upper: got 0"),
        ("{{upper 3}}", "error calling upper: wrong type for value; expected string; got int"),
        ("{{nil}}", "nil is not a command"),
        ('{{.ID "x"}}', "can't give argument to non-function .ID"),
        ("{{.ID.Foo}}", "can't evaluate field Foo in type string"),
        ("{{.Nil.Foo}}", 'nil data; no entry for key "Foo"'),
        ("{{range .ID}}{{end}}", "range can't iterate over sha256:abc (string)"),
        ('{{pad "x" 0 1000000000}}', "expected 0 to 10000 blanks, got 1000000000"),
    ],
)
def test_render_what_the_value_does_not_have_is_refused(source: str, problem: str) -> None:
    with pytest.raises(TemplateInvalid) as refused:
        render(source)
    assert refused.value.message.startswith("template parsing error: template: :1:")
    assert refused.value.message.endswith(problem)


def test_render_unknown_field_of_a_record_names_those_there_are() -> None:
    with pytest.raises(TemplateInvalid, match=r"at <\.Idd>: no field Idd; there is ID, Tag$"):
        render("{{.Idd}}", Record(ID="a", Tag="b"))


def test_render_record_is_printed_as_a_struct() -> None:
    assert render("{{.RootFS}}", {"RootFS": Record(Type="layers", Layers=["a", "b"])}) == "{layers [a b]}"


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("{{.Config.Volumes}}", "map[/data:{}]"),
        ("{{json .Config.Volumes}}", '{"/data":{}}'),
        ("{{json .Config.Healthcheck}}", '{"Test":["CMD","true"],"Interval":5}'),
        ("{{json .Config.Labels}}", '{"a":"1","b":"2"}'),
    ],
)
def test_format_config_as_docker_s_types_have_it(source: str, output: str) -> None:
    config = {"Volumes": {"/data": {}}, "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5}}
    assert format_document(source, {"Config": config | {"Labels": {"b": "2", "a": "1"}}}) == output


def test_render_too_much_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MAX_OUTPUT", 1000)
    with pytest.raises(TemplateInvalid, match="expected at most 1000 characters of output, got more"):
        render("{{range 10}}{{range 10}}{{range 10}}xx{{end}}{{end}}{{end}}")


def test_render_too_many_turns_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MAX_STEPS", 1000)
    with pytest.raises(TemplateInvalid, match="expected at most 1000 turns, got more"):
        render("{{range 100}}{{range 100}}{{end}}{{end}}")


@pytest.mark.parametrize("source", ["{{.}}", "{{json .}}", '{{printf "%d" .}}'])
def test_render_value_nested_too_deeply_is_refused(source: str) -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(TemplateInvalid, match="the value is nested too deeply"):
        render(source, value)


def test_render_half_a_surrogate_can_be_written_as_utf8() -> None:
    assert render("{{.}}", "a\ud800b") == "a?b"


DOCUMENT = {"Id": "sha256:a", "Config": {"User": "", "Env": ["A=1"]}, "RootFS": {"Type": "layers", "Layers": ["b"]}}


@pytest.mark.parametrize(
    ("form", "output"),
    [
        ("{{.Id}}", "sha256:a"),
        ("{{json .Config}}", '{"User":"","Env":["A=1"]}'),
        ("{{.RootFS}}", "{layers [b]}"),
        ("{{.Config.Healthcheck}}", "<no value>"),
        ("{{json .}}", json.dumps(DOCUMENT, separators=(",", ":"))),
    ],
)
def test_format_document_has_fields_in_their_order(form: str, output: str) -> None:
    assert format_document(form, DOCUMENT) == output


def test_format_document_with_an_unknown_field_names_those_there_are() -> None:
    with pytest.raises(TemplateInvalid, match="no field ID; there is Id, Config, RootFS"):
        format_document("{{.ID}}", DOCUMENT)


ROWS = [
    {"Repository": "nginx", "Tag": "1.23.3", "ID": "eb3a91a050ed"},
    {"Repository": "<none>", "Tag": "<none>", "ID": "638dcc55f9f9"},
]
HEADERS = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID"}


@pytest.mark.parametrize(
    ("form", "output"),
    [
        pytest.param("{{.Repository}}:{{.Tag}}", "nginx:1.23.3\n<none>:<none>\n", id="template"),
        pytest.param(r"{{.ID}}\t{{.Tag}}\n", "eb3a91a050ed\t1.23.3\n\n638dcc55f9f9\t<none>\n\n", id="escapes"),
        pytest.param(
            "table {{.ID}}\\t{{.Repository}}",
            "IMAGE ID       REPOSITORY\neb3a91a050ed   nginx\n638dcc55f9f9   <none>\n",
            id="table",
        ),
        pytest.param(
            "table {{upper .Tag}}: {{truncate .ID 4}}\\t{{json .Repository}}",
            'TAG: IMAGE ID   REPOSITORY\n1.23.3: eb3a    "nginx"\n<NONE>: 638d    "<none>"\n',
            id="table with functions",
        ),
        pytest.param(
            "json",
            '{"ID":"eb3a91a050ed","Repository":"nginx","Tag":"1.23.3"}\n'
            '{"ID":"638dcc55f9f9","Repository":"<none>","Tag":"<none>"}\n',
            id="json",
        ),
        pytest.param("tablet", "tablet\ntablet\n", id="a word that begins like table"),
    ],
)
def test_format_rows_as_docker_does(form: str, output: str) -> None:
    assert "".join(format_rows(form, ROWS, HEADERS)) == output


def test_format_rows_as_table_keeps_control_characters_from_the_terminal() -> None:
    rows = [{"Repository": "a\tb\x1b[2J", "Tag": "", "ID": ""}]
    assert "".join(format_rows("table {{.Repository}}", rows, HEADERS)) == "REPOSITORY\na b?[2J\n"


@pytest.mark.parametrize("form", ["table {{.Size}}", "{{.Size}}"])
def test_format_rows_with_an_unknown_field_names_those_there_are(form: str) -> None:
    with pytest.raises(TemplateInvalid, match="no field Size; there is Repository, Tag, ID"):
        list(format_rows(form, ROWS, HEADERS))
