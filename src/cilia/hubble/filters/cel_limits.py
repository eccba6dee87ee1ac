"""What an expression may hold, so that no single flow is dear to judge.

The library bounds the depth of an expression and its steps, not what a step costs: a
regular expression in nested loops takes minutes. So patterns are literals, short, without
counted repetition, and stand in one loop at most.

Source:
    https://github.com/google/cel-spec/blob/master/doc/langdef.md, "Syntax".
"""

import re
from collections.abc import Iterator

LONGEST = 1_024
"""Characters of an expression."""
LONGEST_PATTERN = 128
LOOPS = frozenset(("all", "exists", "exists_one", "map", "filter", "existsOne"))
TOKEN = re.compile(
    r"""(?xs)
    (?P<space> \s+ | //[^\n]* )
  | (?P<text> (?: [rR][bB]? | [bB][rR] ) (?: '''.*?''' | \"\"\".*?\"\"\"
                                           | '[^'\n\r]*' | "[^"\n\r]*" )
            | [bB]? (?: '''(?:\\.|[^\\])*?''' | \"\"\"(?:\\.|[^\\])*?\"\"\"
                      | '(?:\\.|[^'\\\n\r])*' | "(?:\\.|[^"\\\n\r])*" ) )
  | (?P<name> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<sign> . )
    """
)
NUMBERED = re.compile(r"\\[xXuU0-7]")


def complaint(text: str) -> str:
    """Why an expression is not taken; empty when it is.

    >>> complaint("_flow.node_name.matches('^node-[0-9]+$')")
    ''
    >>> complaint("'a'.matches(_flow.Summary)")
    "matches wants a literal pattern: text.matches('pattern')"
    """
    if len(text) > LONGEST:
        return f"{len(text)} characters; {LONGEST} are allowed"
    tokens = list(_tokens(text))
    if ("sign", "`") in tokens:
        return "names in backquotes are not allowed"
    loops: list[bool] = []
    for at, (kind, word) in enumerate(tokens):
        if word == "(" and kind == "sign":
            loops.append(at > 0 and tokens[at - 1][1] in LOOPS)
        elif word == ")" and kind == "sign" and loops:
            loops.pop()
        elif (kind, word) == ("name", "matches"):
            wrong = _pattern_complaint(tokens[max(0, at - 1) : at + 4])
            if wrong or sum(loops) > 1:
                return wrong or "matches may not stand in a loop within a loop"
    return ""


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for found in TOKEN.finditer(text):
        if found.lastgroup != "space":
            yield str(found.lastgroup), found[0]


def _pattern_complaint(around: list[tuple[str, str]]) -> str:
    """About the tokens from before `matches` to the bracket that should close its call."""
    kinds = [kind if kind == "text" else word for kind, word in around]
    if kinds != [".", "matches", "(", "text", ")"]:
        return "matches wants a literal pattern: text.matches('pattern')"
    pattern = around[3][1]
    if len(pattern) > LONGEST_PATTERN:
        return f"a pattern of {len(pattern)} characters; {LONGEST_PATTERN} are allowed"
    if "{" in pattern or NUMBERED.search(pattern):
        return "a pattern may not hold '{' or characters by number"
    return ""
