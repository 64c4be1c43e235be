"""Go templates: from tokens to a tree."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from entrepot.cli.templates_syntax import TemplateInvalid, Token, number_of, tokens_of, unquote

MAX_DEPTH = 50  # of blocks and of parentheses


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a text, true, false or nil."""

    value: object


@dataclass(frozen=True, slots=True)
class Variable:
    """``$name``; ``$`` is what the template was given."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function's name; its arguments are the command's."""

    name: str


@dataclass(frozen=True, slots=True)
class Operand:
    """``start`` and the fields that follow it: ``.A.B``, ``$x.A``, ``(index .A 0).B``. ``start`` None is the dot."""

    start: Constant | Variable | Call | Pipeline | None
    fields: tuple[str, ...]
    source: str
    place: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands joined by ``|``; what they yield is put into the variables, if there are any."""

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...] = ()
    declares: bool = False  # := rather than =


@dataclass(frozen=True, slots=True)
class Text:
    """What is printed as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """``{{pipeline}}``."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Leave:
    """``{{break}}`` or ``{{continue}}``."""

    word: str


@dataclass(slots=True)
class Block:
    """``{{if}}``, ``{{range}}`` or ``{{with}}`` up to its ``{{end}}``."""

    kind: str
    pipeline: Pipeline
    body: list[Node] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)


Node = Text | Action | Leave | Block
_Ending = Literal["", "end", "else"]
_Tree = TypeVar("_Tree")


def parse(source: str, functions: Collection[str]) -> list[Node]:
    """The tree of a template that may use ``functions``. Raises TemplateInvalid."""
    return _Parser(source, functions).template()


class _Parser:
    def __init__(self, source: str, functions: Collection[str]) -> None:
        self._tokens = tokens_of(source)
        self._functions = functions
        self._peeked: Token | None = None
        self._last_line = source.count("\n") + 1
        self._variables = ["$"]
        self._depth = 0
        self._ranges = 0

    def template(self) -> list[Node]:
        nodes, ending = self._nodes()
        if ending:
            raise TemplateInvalid(f":{self._last_line}: unexpected {{{{{ending}}}}}")
        return nodes

    # Blocks

    def _nodes(self) -> tuple[list[Node], _Ending]:
        """Everything up to {{end}}, {{else}} or the end of the template."""
        nodes: list[Node] = []
        for token in self._tokens:
            if token.kind == "text":
                nodes += [Text(token.text)] if token.text else []
                continue
            word = self._peek().text if self._peek().kind == "word" else ""
            if word == "end" or word == "else":
                self._next()
                return nodes, "end" if word == "end" else "else"
            nodes.append(self._node(word))
        return nodes, ""

    def _node(self, word: str) -> Node:
        if word in ("if", "range", "with"):
            return self._nested(lambda: self._block(self._next().text))
        if word in ("break", "continue"):
            return self._leave(self._next())
        if word in ("define", "template", "block"):
            raise self._error(self._next(), f"{{{{{word}}}}} is not supported")
        return Action(self._whole_pipeline("command"))

    def _leave(self, token: Token) -> Leave:
        if not self._ranges:
            raise self._error(token, f"{{{{{token.text}}}}} outside {{{{range}}}}")
        self._expect_close()
        return Leave(token.text)

    def _block(self, kind: str) -> Block:
        known = len(self._variables)
        block = Block(kind, self._whole_pipeline(kind, in_range=kind == "range"))
        self._ranges += kind == "range"
        block.body, ending = self._nodes()
        self._ranges -= kind == "range"
        if ending == "else":
            block.otherwise = self._otherwise(kind)
        elif ending == "end":
            self._expect_close()
        else:
            raise TemplateInvalid(f":{self._last_line}: unexpected EOF")
        del self._variables[known:]
        return block

    def _otherwise(self, kind: str) -> list[Node]:
        token = self._peek()
        if token.kind == "word" and token.text == kind and kind != "range":
            self._next()
            return [self._nested(lambda: self._block(kind))]
        self._expect_close()
        nodes, ending = self._nodes()
        if ending != "end":
            problem = "unexpected {{else}}" if ending else "unexpected EOF"
            raise TemplateInvalid(f":{self._last_line}: {problem}")
        self._expect_close()
        return nodes

    # Pipelines

    def _whole_pipeline(self, context: str, *, in_range: bool = False) -> Pipeline:
        pipeline = self._pipeline(context, in_range=in_range)
        self._expect_close()
        return pipeline

    def _pipeline(self, context: str, *, in_range: bool = False) -> Pipeline:
        first = self._peek()
        variables, declares, operand = self._declarations(in_range=in_range)
        commands = [self._command(context, operand)]
        while self._peek().text == "|" and self._peek().kind == "mark":
            self._next()
            commands.append(self._command("command", None))
        self._check_stages(commands)
        self._variables += variables if declares else ()
        if in_range and len(variables) == 2 and not declares:
            raise self._error(first, "range can only declare variables with :=")
        return Pipeline(tuple(commands), variables, declares)

    def _declarations(self, *, in_range: bool) -> tuple[tuple[str, ...], bool, Operand | None]:
        """Variables before := or =; or the first operand, if it was a variable after all."""
        if self._peek().kind != "variable":
            return (), False, None
        first = self._next()
        names = [first.text]
        if in_range and self._peek().kind == "mark" and self._peek().text == ",":
            self._next()
            names.append(self._expect("variable").text)
        if self._peek().kind == "assign":
            declares = self._next().text == ":="
            self._check_known(names if not declares else [], first)
            return tuple(names), declares, None
        if len(names) == 2:
            raise self._error(first, "range can only declare variables with :=")
        return (), False, self._with_fields(self._variable(first), first)

    def _check_known(self, names: list[str], token: Token) -> None:
        for name in names:
            if name not in self._variables:
                raise self._error(token, f'undefined variable "{name}"')

    def _check_stages(self, commands: list[tuple[Operand, ...]]) -> None:
        for number, command in enumerate(commands[1:], 2):
            if isinstance(command[0].start, Constant):
                raise TemplateInvalid(f"{command[0].place}: non executable command in pipeline stage {number}")

    def _command(self, context: str, operand: Operand | None) -> tuple[Operand, ...]:
        operands = [operand] if operand else []
        while not self._ends_command(self._peek()):
            if operands and not self._peek().after_blank:
                raise self._error(self._peek(), f'unexpected "{self._peek().text[:40]}" in operand')
            operands.append(self._operand())
        if not operands:
            raise self._error(self._peek(), f"missing value for {context}")
        return tuple(operands)

    def _ends_command(self, token: Token) -> bool:
        return token.kind == "close" or (token.kind == "mark" and token.text in "|)")

    # Operands

    def _operand(self) -> Operand:
        token = self._next()
        make = self._makers.get(token.kind)
        if make is None and not (token.kind == "mark" and token.text == "("):
            raise self._error(token, f'unexpected "{token.text[:40]}" in operand')
        start = make(self, token) if make else self._nested(self._parenthesised)
        fields = (token.text[1:],) if token.kind == "field" else ()
        return self._with_fields(start, token, fields)

    def _with_fields(
        self, start: Constant | Variable | Call | Pipeline | None, token: Token, fields: tuple[str, ...] = ()
    ) -> Operand:
        source = token.text if token.text != "(" else "(…)"
        while self._peek().kind == "field" and not self._peek().after_blank:
            if isinstance(start, Constant) or token.kind == "dot":
                raise self._error(self._peek(), f'unexpected "{self._peek().text}" after {source}')
            following = self._next().text
            fields, source = (*fields, following[1:]), source + following
        return Operand(start, fields, source, token.place)

    def _parenthesised(self) -> Pipeline:
        pipeline = self._pipeline("parenthesized pipeline")
        token = self._next()
        if token.text != ")":
            raise self._error(token, "unclosed left paren")
        return pipeline

    def _variable(self, token: Token) -> Variable:
        self._check_known([token.text], token)
        return Variable(token.text)

    def _word(self, token: Token) -> Constant | Call:
        if token.text in _WORDS:
            return Constant(_WORDS[token.text])
        if token.text not in self._functions:
            raise self._error(token, f'function "{token.text}" not defined')
        return Call(token.text)

    def _dot(self, token: Token) -> None:  # noqa: ARG002
        return None

    def _string(self, token: Token) -> Constant:
        return Constant(unquote(token))

    def _char(self, token: Token) -> Constant:
        text = unquote(token)
        if len(text) != 1:
            raise self._error(token, f"malformed character constant: {token.text[:40]}")
        return Constant(ord(text))

    def _number(self, token: Token) -> Constant:
        return Constant(number_of(token))

    _makers = {  # noqa: RUF012
        "char": _char,
        "dot": _dot,
        "field": _dot,
        "number": _number,
        "string": _string,
        "variable": _variable,
        "word": _word,
    }

    # Tokens

    def _next(self) -> Token:
        token, self._peeked = self._peek(), None
        return token

    def _peek(self) -> Token:
        if self._peeked is None:
            self._peeked = next(self._tokens)
        return self._peeked

    def _expect(self, kind: str) -> Token:
        token = self._next()
        if token.kind != kind:
            raise self._error(token, f'expected {kind}, got "{token.text[:40]}"')
        return token

    def _expect_close(self) -> None:
        token = self._next()
        if token.kind != "close":
            raise self._error(token, f'unexpected "{token.text[:40]}"')

    def _nested(self, parse: Callable[[], _Tree]) -> _Tree:
        if self._depth == MAX_DEPTH:
            raise self._error(self._peek(), f"nested more than {MAX_DEPTH} deep")
        self._depth += 1
        try:
            return parse()
        finally:
            self._depth -= 1

    def _error(self, token: Token, problem: str) -> TemplateInvalid:
        return TemplateInvalid(f"{token.place}: {problem}")


_WORDS = {"true": True, "false": False, "nil": None}
