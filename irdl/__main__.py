"""The command line: `python -m irdl demo`, `opt`, `config`, `version`."""

from __future__ import annotations

import argparse
import ast
import runpy
import sys
from pathlib import Path

from irdl import config, opt

_EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m irdl", description="A compiler for models written in NumPy.")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("demo", help="run an example: demo list, demo NAME; a character LSTM on English by default", add_help=False)
    commands.add_parser("config", help="show the environment variables that irdl reads")
    commands.add_parser("version", help="show the versions of irdl and of what it stands on")
    command = commands.add_parser("opt", help="take the text of a graph or a program through passes, and print it")
    opt.add_arguments(command)
    known, rest = parser.parse_known_args(arguments)
    if known.command is None:
        parser.print_help()
        return 0
    if known.command != "demo" and rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if known.command == "opt":
        return opt.run(known)
    if known.command == "version":
        import llvmlite
        import numpy as np

        import irdl

        print(f"irdl {irdl.__version__}, Python {sys.version.split()[0]}, NumPy {np.__version__}, llvmlite {llvmlite.__version__}")
        return 0
    if known.command == "config":
        for flag in config.FLAGS:
            print(f"{flag.name}={flag.value!r}  {flag.meaning}")
        return 0
    return _demo(rest)


def _demo(arguments: list[str]) -> int:
    """List the examples, or run one."""
    names = sorted(path.stem for path in _EXAMPLES.glob("*.py") if path.stem != "common")
    if not names:
        print("the examples are in irdl's repository: install irdl from a checkout (pip install -e .)", file=sys.stderr)
        return 1
    name = "char_lstm"
    if arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
    if name == "list":
        for known in names:
            first = ast.get_docstring(ast.parse((_EXAMPLES / f"{known}.py").read_text())) or ""
            print(f"{known:<18} {first.partition(chr(10))[0]}")
        return 0
    if name not in names:
        print(f"there is no example {name!r}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    sys.path.insert(0, str(_EXAMPLES))
    try:
        runpy.run_path(str(_EXAMPLES / f"{name}.py"), run_name="example")["main"](arguments)
    except (OSError, ValueError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
