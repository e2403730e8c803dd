"""The end of a command that fails: one line for a mistake of its user, a traceback for anything else."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from mmkit.errors import UserError, summary
from mmkit.utils.logging import log_traceback


@contextmanager
def errors_in_one_line(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Leave with status 2 and one line on stderr after a mistake that the user can mend; other errors are raised again.

    The traceback of both is in the log file, if there is one.
    """
    try:
        yield
    except (UserError, OSError) as error:
        path = log_traceback(error)
        hint = f' (traceback: {path or "with --work-dir in its log"})' if _is_foreign(error) else ''
        parser.exit(2, f'{parser.prog}: {one_line(error)}{hint}\n')
    except Exception as error:
        log_traceback(error)
        raise


def _is_foreign(error: Exception) -> bool:
    """True if the message is that of code which knows nothing of configs: it may be of a fault in that code."""
    cause = error.__cause__
    if cause is None or not isinstance(error, UserError) or not error.is_located:  # a file that cannot be read says it
        return False
    return summary(cause).partition(': ')[2] in str(error)


def one_line(error: Exception) -> str:
    """The message; of an error in a worker of a loader, whose message is a whole traceback, the last line of that."""
    message = str(error)
    if 'Original Traceback' in message:
        message = message.strip().splitlines()[-1].partition(': ')[2]
    return message or type(error).__name__
