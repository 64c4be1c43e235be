"""Formats in Go's template language, as ``docker ... --format`` takes them.

Everything but ``define``, ``template``, ``block`` and methods is there: fields, ``index``, variables, pipelines,
``if``, ``with``, ``range``, trimming, comments, Go's functions and docker's. A value is what JSON has, and ``Record``
for what has fixed fields. Nothing is evaluated but this language, and what it prints is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from entrepot.cli.tables import align, plain_cell
from entrepot.cli.templates_functions import FUNCTIONS
from entrepot.cli.templates_parse import (
    Action,
    Block,
    Call,
    Constant,
    Leave,
    Node,
    Operand,
    Pipeline,
    Text,
    Variable,
    parse,
)
from entrepot.cli.templates_syntax import TemplateInvalid
from entrepot.cli.templates_values import (
    OpenRecord,
    Record,
    ValueRefused,
    as_json,
    field_of,
    is_absent,
    is_true,
    kind_of,
    show,
)

__all__ = ["Record", "Template", "TemplateInvalid", "as_json", "format_document", "format_rows"]

MAX_OUTPUT = 64 * 1024 * 1024  # characters of one rendering
MAX_STEPS = 10_000_000  # turns of loops in one rendering

_SHORT_CIRCUIT = {"and": False, "or": True}  # the truth of an argument that ends the evaluation
_NAMES = frozenset(FUNCTIONS) | _SHORT_CIRCUIT.keys() | {"not"}
_MISSING = object()


class Template:
    """A template that has been read. Raises TemplateInvalid."""

    def __init__(self, source: str) -> None:
        try:
            self._nodes = parse(source, _NAMES)
        except RecursionError:
            raise TemplateInvalid(":1: nested too deeply") from None

    def render(self, value: Any) -> str:
        """What the template prints for ``value``. Raises TemplateInvalid."""
        try:
            text = _Rendering(value).render(self._nodes)
        except RecursionError:
            raise TemplateInvalid(":1: the value is nested too deeply") from None
        return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def format_document(form: str, document: Mapping[str, Any]) -> str:
    """What ``inspect --format`` prints of one document. Raises TemplateInvalid, also for a field it does not have."""
    parts = {name: OpenRecord(part) if _is_struct(name, part) else part for name, part in document.items()}
    if isinstance(config := parts.get("Config"), OpenRecord):
        parts["Config"] = OpenRecord({name: _part_of_config(name, part) for name, part in config.items()})
    return Template(form).render(Record(parts))


_STRUCTS = {"Config", "Descriptor", "GraphDriver", "Metadata", "RootFS"}  # of docker's image; other objects are maps
_SETS = {"ExposedPorts", "Volumes"}  # Go has no sets: maps to the empty struct


def _part_of_config(name: str, part: Any) -> Any:
    if name == "Healthcheck" and isinstance(part, dict):
        return OpenRecord(part)
    if name in _SETS and isinstance(part, dict):
        return {key: Record() if value == {} else value for key, value in part.items()}
    return part


def _is_struct(name: str, part: object) -> bool:
    return name in _STRUCTS and isinstance(part, dict)


def format_rows(form: str, rows: Iterable[Mapping[str, Any]], headers: Mapping[str, str]) -> Iterator[str]:
    """What ``--format`` prints for a list, in pieces that end with a newline.

    ``json`` is one object a line, ``table TEMPLATE`` has a row of ``headers`` (by field) above columns that are
    separated by ``\\t``, and anything else is a template for each row. Raises TemplateInvalid.
    """
    if form == "json":
        yield from (as_json(dict(row)) + "\n" for row in rows)
    elif form == "table" or form.startswith("table "):
        yield _table(_unescaped(form.removeprefix("table").strip(" ")), rows, headers)
    else:
        template = Template(_unescaped(form))
        yield from (template.render(Record(row)) + "\n" for row in rows)


def _unescaped(form: str) -> str:
    return form.replace("\\t", "\t").replace("\\n", "\n")


def _table(source: str, rows: Iterable[Mapping[str, Any]], headers: Mapping[str, str]) -> str:
    template = Template(source)
    lines = [_header(source, headers), *(template.render(_harmless(row)) for row in rows)]
    return align("".join(f"{line}\n" for line in lines))


def _header(source: str, headers: Mapping[str, str]) -> str:
    """The template's fields by their headers, whatever functions they are passed through."""
    return _Rendering(Record(headers), header=True).render(parse(source, _NAMES))


def _harmless(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return Record({name: plain_cell(value) if isinstance(value, str) else value for name, value in row.items()})


class _Left(Exception):
    """break or continue."""

    def __init__(self, word: str) -> None:
        self.word = word


class _Rendering:
    """One run of a template."""

    def __init__(self, value: Any, *, header: bool = False) -> None:
        self._root = value
        self._header = header
        self._variables: list[tuple[str, Any]] = [("$", value)]
        self._parts: list[str] = []
        self._room = MAX_OUTPUT
        self._steps = MAX_STEPS

    def render(self, nodes: Sequence[Node]) -> str:
        self._run(nodes, self._root)
        return "".join(self._parts)

    # Nodes

    def _run(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self._write(node.text)
            elif isinstance(node, Action):
                self._run_action(node.pipeline, dot)
            elif isinstance(node, Block):
                self._run_block(node, dot)
            elif isinstance(node, Leave):
                raise _Left(node.word)

    def _write(self, text: str) -> None:
        self._room -= len(text)
        if self._room < 0:
            raise TemplateInvalid(f":1: expected at most {MAX_OUTPUT} characters of output, got more")
        self._parts.append(text)

    def _run_action(self, pipeline: Pipeline, dot: Any) -> None:
        value = self._evaluate(pipeline, dot)
        if not pipeline.variables:
            self._write(show(value))

    def _run_block(self, block: Block, dot: Any) -> None:
        known = len(self._variables)
        if block.kind == "range":
            self._run_range(block, dot)
        else:
            value = self._evaluate(block.pipeline, dot)
            inner = value if block.kind == "with" and is_true(value) else dot
            self._run(block.body if is_true(value) else block.otherwise, inner)
        del self._variables[known:]

    def _run_range(self, block: Block, dot: Any) -> None:
        pipeline = block.pipeline
        value = self._evaluate(Pipeline(pipeline.commands), dot)
        items = _items(value, pipeline.commands[-1][0])
        known = len(self._variables)
        for key, item in items:
            self._count_step(pipeline)
            self._set_range_variables(pipeline, key, item)
            try:
                self._run(block.body, item)
            except _Left as left:
                if left.word == "break":
                    break
            finally:
                del self._variables[known:]
        if not items:
            self._run(block.otherwise, dot)

    def _count_step(self, pipeline: Pipeline) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise TemplateInvalid(f"{pipeline.commands[0][0].place}: expected at most {MAX_STEPS} turns, got more")

    def _set_range_variables(self, pipeline: Pipeline, key: Any, item: Any) -> None:
        values = (key, item) if len(pipeline.variables) == 2 else (item,)
        for name, value in zip(pipeline.variables, values, strict=False):
            self._set(name, value, declares=pipeline.declares)

    def _set(self, name: str, value: Any, *, declares: bool) -> None:
        if declares:
            self._variables.append((name, value))
            return
        for index in reversed(range(len(self._variables))):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return

    # Values

    def _evaluate(self, pipeline: Pipeline, dot: Any) -> Any:
        value: Any = _MISSING
        for command in pipeline.commands:
            value = self._command(command, dot, value)
        for name in pipeline.variables:
            self._set(name, value, declares=pipeline.declares)
        return value

    def _command(self, command: tuple[Operand, ...], dot: Any, piped: Any) -> Any:
        first = command[0]
        if isinstance(first.start, Call):
            return self._call(first, first.start.name, command[1:], dot, piped)
        if len(command) > 1 or piped is not _MISSING:
            raise _failed(first, f"can't give argument to non-function {first.source}")
        if isinstance(first.start, Constant) and first.start.value is None:
            raise _failed(first, "nil is not a command")
        return self._operand(first, dot)

    def _operand(self, operand: Operand, dot: Any) -> Any:
        value = self._start(operand, dot)
        try:
            for name in operand.fields:
                if self._header and isinstance(value, str):
                    break
                if is_absent(value, name):
                    return None
                value = field_of(value, name)
        except ValueRefused as refused:
            raise _failed(operand, str(refused)) from None
        return value

    def _start(self, operand: Operand, dot: Any) -> Any:
        start = operand.start
        if isinstance(start, Pipeline):
            return self._evaluate(start, dot)
        if isinstance(start, Constant):
            return start.value
        if isinstance(start, Variable):
            return next(value for name, value in reversed(self._variables) if name == start.name)
        return self._call(operand, start.name, (), dot, _MISSING) if isinstance(start, Call) else dot

    def _call(self, operand: Operand, name: str, arguments: Sequence[Operand], dot: Any, piped: Any) -> Any:
        if name in _SHORT_CIRCUIT:
            return self._short_circuit(operand, name, arguments, dot, piped)
        values = [self._operand(argument, dot) for argument in arguments]
        values += [] if piped is _MISSING else [piped]
        if self._header and values and name not in _IN_HEADERS:
            return values[0]
        return _apply(operand, " ".join([name, *(argument.source for argument in arguments)]), values)

    def _short_circuit(self, operand: Operand, name: str, arguments: Sequence[Operand], dot: Any, piped: Any) -> Any:
        value: Any = _MISSING
        for argument in arguments:
            value = self._operand(argument, dot)
            if is_true(value) == _SHORT_CIRCUIT[name]:
                return value
        value = value if piped is _MISSING else piped
        if value is _MISSING:
            raise _failed(operand, f"wrong number of args for {name}: want at least 1 got 0")
        return value


_IN_HEADERS = {"eq", "ne", "lt", "le", "gt", "ge", "not", "print", "printf", "println"}  # the others leave them alone
_ALL: dict[str, Callable[..., Any]] = FUNCTIONS | {"not": lambda value: not is_true(value)}


def _apply(operand: Operand, source: str, values: Sequence[Any]) -> Any:
    name = operand.source.partition(".")[0]
    call = replace(operand, source=source)
    try:
        return _ALL[name](*values)
    except ValueRefused as refused:
        raise _failed(call, f"error calling {name}: {refused}") from None
    except TypeError:
        raise _failed(call, f"wrong number of args for {name}: got {len(values)}") from None


def _items(value: Any, operand: Operand) -> Sequence[tuple[Any, Any]]:
    if value is None:
        return []
    if isinstance(value, Mapping) and not isinstance(value, Record):
        return sorted(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(min(value, MAX_STEPS))]
    raise _failed(operand, f"range can't iterate over {show(value)[:80]} ({kind_of(value)})")


def _failed(operand: Operand, problem: str) -> TemplateInvalid:
    return TemplateInvalid(f'{operand.place}: executing "" at <{operand.source}>: {problem}')
