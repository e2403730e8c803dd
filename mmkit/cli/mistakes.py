"""How a command ends when a config or an option is wrong: with one line instead of a traceback."""

from __future__ import annotations

import argparse
from pathlib import Path
from traceback import walk_tb
from typing import NoReturn

from mmkit.utils.logging import log_traceback

PACKAGE = Path(__file__).resolve().parents[1]
MISTAKES = (OSError, ValueError, TypeError, KeyError, IndexError, RuntimeError)  # and ConfigError


def stop(parser: argparse.ArgumentParser, error: Exception) -> NoReturn:
    """Leave with status 2. The traceback is in the log file, if there is one.

    An error that is not raised by mmkit itself may be a fault in somebody's code: then the line says where to look.
    """
    path = log_traceback(error)
    hint = f' (traceback: {path or "with --work-dir in its log"})' if not _is_foreseen(error) else ''
    parser.exit(2, f'{parser.prog}: {one_line(error)}{hint}\n')


def _is_foreseen(error: Exception) -> bool:
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    raised_in = Path(frames[-1].f_code.co_filename) if frames else Path()
    return isinstance(error, OSError) or raised_in.is_relative_to(PACKAGE)


def one_line(error: Exception) -> str:
    """The message; of an error in a worker of a loader, whose message is a whole traceback, the last line of that."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'Original Traceback' in message:
        message = message.strip().splitlines()[-1].removeprefix(f'{type(error).__name__}: ')
    return message or type(error).__name__
