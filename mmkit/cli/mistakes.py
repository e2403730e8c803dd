"""How a command ends when a config or an option is wrong: with one line instead of a traceback."""

from __future__ import annotations

import argparse
import linecache
from pathlib import Path
from traceback import walk_tb
from typing import NoReturn

from mmkit.utils.logging import log_traceback

PACKAGE = Path(__file__).resolve().parents[1]


def stop(parser: argparse.ArgumentParser, error: Exception) -> NoReturn:
    """Leave with status 2. The traceback is in the log file, if there is one.

    An error that no `raise` of mmkit explains may be a fault in somebody's code: then the line says where to look.
    """
    path = log_traceback(error)
    hint = '' if _is_foreseen(error) else f' (traceback: {path or "with --work-dir in its log"})'
    parser.exit(2, f'{parser.prog}: {one_line(error)}{hint}\n')


def _is_foreseen(error: Exception) -> bool:
    """Whether it is about a file, or comes from a `raise` of this package."""
    if isinstance(error, OSError):
        return True
    *_, (frame, line) = walk_tb(error.__traceback__)
    file = frame.f_code.co_filename
    return Path(file).is_relative_to(PACKAGE) and linecache.getline(file, line).lstrip().startswith('raise')


def one_line(error: Exception) -> str:
    """The message; of an error in a worker of a loader, whose message is a whole traceback, the last line of that."""
    message = str(error.args[0]) if type(error) is KeyError and error.args else str(error)
    message = ' '.join([message, *error.__dict__.get('__notes__', [])])
    if 'Original Traceback' in message:
        message = message.strip().splitlines()[-1].removeprefix(f'{type(error).__name__}: ')
    return message or type(error).__name__
