"""The directive `messages`: every line that the code can end with, read from its source.

`{messages} media face` lists those of some wings or modules in alphabetical order. `...` stands for what differs from
case to case.
"""

import ast
import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

PACKAGE = Path(__file__).parents[2] / "lipgan_keras"
ERRORS = {"UserError", "Incomplete", "Unsupported", "ArgumentTypeError", "parser.error"}
LEAST = 12  # letters that say something


def messages(room: str = "") -> list[str]:
    """What a wing or module says when it refuses something: the text, "..." for each part that is filled in."""
    base = PACKAGE / room
    files = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
    if not files[0].exists():
        raise ValueError(f"{room}: no such wing or module")
    found = set()
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = _constants(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and _name(node.func) in ERRORS:
                text = _text(node.args[0], constants)
                if sum(map(str.isalpha, text)) >= LEAST:
                    found.add(text)
    return sorted(found, key=lambda text: re.sub(r"[^a-z ]", "", text.lower()).strip())


def _constants(tree):
    """Names at the top of a module that stand for a text."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _name(function):
    if isinstance(function, ast.Attribute) and function.attr == "error":
        return f"{getattr(function.value, 'id', '')}.error"
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _text(node, constants):
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, constants)
    if isinstance(node, ast.Name) and node.id in constants:
        return constants[node.id]
    return "..."


class Messages(SphinxDirective):
    """A list of the messages of the wings and modules that are named."""

    required_arguments = 1
    optional_arguments = 100

    def run(self):
        listed = nodes.bullet_list(classes=["messages"])
        for text in sorted({text for room in self.arguments for text in messages(room)}, key=str.lower):
            listed += nodes.list_item("", nodes.paragraph("", "", nodes.literal(text=text)))
        return [listed]


def setup(app):
    app.add_directive("messages", Messages)
    return {"parallel_read_safe": True}
