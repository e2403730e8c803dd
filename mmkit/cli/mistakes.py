"""How a command ends when a config or an option is wrong: with one line instead of a traceback."""

from __future__ import annotations

import argparse
from typing import NoReturn

from mmkit.utils.logging import get_logger

MISTAKES = (OSError, ValueError, TypeError, KeyError, IndexError, RuntimeError)  # and ConfigError


def stop(parser: argparse.ArgumentParser, error: Exception) -> NoReturn:
    """Leave with status 2; the traceback is logged with `log_level='DEBUG'` only."""
    get_logger().debug('', exc_info=error)
    parser.exit(2, f'{parser.prog}: {one_line(error)}\n')


def one_line(error: Exception) -> str:
    """The message; of an error in a worker of a loader, whose message is a whole traceback, the last line of that."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if 'Original Traceback' in message:
        message = message.strip().splitlines()[-1].removeprefix(f'{type(error).__name__}: ')
    return message or type(error).__name__
