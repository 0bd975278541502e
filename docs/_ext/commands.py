"""The directive `command`: the flags of a command, as its own parser knows them.

The same parsers read the command lines of the how-to pages in tests_docs/.
"""

import argparse
import importlib
import re
import sys
from unittest import mock

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

# What is typed after `python` -> the module and the function that parse it, and what that function is given
COMMANDS: dict[str, tuple] = {
    "app.py": ("lipgan_keras.app.command", "main"),
    "inference.py": ("lipgan_keras.inference.command", "main"),
    "train.py": ("lipgan_keras.training.command", "main"),
    "preprocess.py": ("lipgan_keras.puppets.preprocessing", "main"),
    "evaluate.py": ("lipgan_keras.evaluation.command", "main"),
    "-m lipgan_keras.live": ("lipgan_keras.live.__main__", "main"),
    "-m lipgan_keras.checkpoints": ("lipgan_keras.checkpoints.__main__", "main"),
    "-m lipgan_keras.networks": ("lipgan_keras.blocks", "main", None),
    "-m lipgan_keras.puppets": ("lipgan_keras.puppets.__main__", "main"),
    "-m lipgan_keras.demo": ("lipgan_keras.puppets.demo", "main"),
    "-m lipgan_keras.sync_accuracy": ("lipgan_keras.evaluation.sync_accuracy", "main"),
    "-m lipgan_keras.syncnet": ("lipgan_keras.evaluation.syncnet", "main"),
    "-m lipgan_keras.report": ("lipgan_keras.evaluation.report", "main"),
    "-m lipgan_keras.judging": ("lipgan_keras.evaluation.judging", "main"),
    "-m lipgan_keras.evaluation.activations": ("lipgan_keras.evaluation.activations", "main"),
}


class _Reached(Exception):
    """A command has come to where it reads its flags."""


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser that a command makes for itself; nothing of the command's work is done."""
    module, function, *given = COMMANDS[command]
    main = getattr(importlib.import_module(module), function)
    made: list[argparse.ArgumentParser] = []

    def stop(self, args=None, namespace=None):
        made.append(self)
        raise _Reached

    program = command.removeprefix("-m ")
    with (
        mock.patch.object(sys, "argv", [program]),
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop),
    ):
        try:
            main(*given)
        except _Reached:
            made[0].prog = f"python {command}"
            return made[0]
    raise AssertionError(f"{command} reads no flags")


def said(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """A flag's help with the values in it, as --help shows it."""
    formatter = parser._get_formatter()
    return formatter._expand_help(action) if action.help else ""


def shown(action: argparse.Action) -> str:
    """How a flag is written: its name, and what follows it."""
    if isinstance(action, argparse._StoreTrueAction | argparse._StoreFalseAction | argparse._HelpAction):
        return ", ".join(action.option_strings)
    if isinstance(action, argparse.BooleanOptionalAction):
        return " / ".join(action.option_strings)
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else _kind_of(action))
    value = " ".join(value) if isinstance(value, tuple) else value
    value = {"+": f"{value} ...", "*": f"[{value} ...]", "?": f"[{value}]"}.get(str(action.nargs), value)
    if not action.option_strings:
        return value.lower()
    return f"{', '.join(action.option_strings)} {value}"


def _kind_of(action):
    """What a flag takes, where the parser has no word for it: what its type is."""
    name = getattr(action.type, "__name__", "")
    return {"existing": "PATH", "path": "PATH", "word": "NAME", "parse": "N", "int": "N"}.get(name, action.dest.upper())


class Command(SphinxDirective):
    """`{command} train.py`: usage, and a list of the flags in the groups of the parser."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        if self.arguments[0] not in COMMANDS:
            raise self.error(f"no such command: {self.arguments[0]}")
        parser = parser_of(self.arguments[0])
        found = self._flags(parser)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
                for name, sub in action.choices.items():
                    sub.prog = f"{parser.prog} {name}"
                    found += [_line(sub), _paragraph(summaries.get(name, ""))]
                    found += self._flags(sub)
        return [_paragraph(parser.description or ""), *found]

    def _flags(self, parser):
        found: list[nodes.Node] = []
        for group in parser._action_groups:
            actions = [action for action in group._group_actions if is_shown(action)]
            if not actions:
                continue
            if group.title and group.title not in ("options", "positional arguments"):
                found.append(nodes.rubric(text=group.title[:1].upper() + group.title[1:]))
            listed = nodes.definition_list(classes=["flags"])
            for action in actions:
                term = nodes.term("", "", nodes.literal(text=shown(action)))
                text = said(parser, action)
                needed = " (needed)" if action.required and action.option_strings else ""
                definition = nodes.definition("", _paragraph(text + needed))
                listed += nodes.definition_list_item("", term, definition)
            found.append(listed)
        return found


def is_shown(action):
    hidden = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    return not hidden and action.help is not argparse.SUPPRESS


def _line(parser):
    block = nodes.literal_block(text=re.sub(r"^usage: ", "", parser.format_usage()).strip())
    block["language"] = "text"
    return block


def _paragraph(text):
    """A help text as a sentence, in which flags are code."""
    text = " ".join(text.split())
    text = text[:1].upper() + text[1:] + ("" if not text or text.endswith(".") else ".")
    parts = re.split(r"(?<!\S)(--[a-z]\w*)", text)
    return nodes.paragraph(
        "", "", *[nodes.literal(text=part) if i % 2 else nodes.Text(part) for i, part in enumerate(parts)]
    )


def setup(app):
    app.add_directive("command", Command)
    return {"parallel_read_safe": True}
