"""The logger of the toolbox: to the terminal and, once a work directory is known, to a file."""

from __future__ import annotations

import functools
import logging
import os
import sys
from pathlib import Path

FORMAT = '%(asctime)s - %(name)s - %(levelname)s - %(message)s'


def get_logger(name: str = 'mmkit') -> logging.Logger:
    """The logger of the toolbox, or a child of it (`mmkit.engine`), ready to use at any time.

    Messages go to stderr, above progress bars; in a program that has set up Python's root logger they go there instead.
    Of several processes only the first one (`RANK=0`) logs anything below ERROR.
    """
    base = logging.getLogger('mmkit')
    if not any(isinstance(handler, _Terminal) for handler in base.handlers):
        base.setLevel(logging.INFO)
        _attach(base, _Terminal())
    return logging.getLogger(name)


def log_to_file(path: str | os.PathLike[str]) -> logging.Handler:
    """Log to the file `path` too, from now on; an earlier file is closed.

    Returns:
        The handler; pass it to `logging.Logger.removeHandler` to stop.
    """
    base = get_logger()
    for handler in list(base.handlers):
        if isinstance(handler, logging.FileHandler):
            base.removeHandler(handler)
            handler.close()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding='utf-8', delay=True)
    _attach(base, handler)
    return handler


def log_traceback(error: BaseException) -> str | None:
    """Write the traceback of an error to the file of `log_to_file`, if there is one, and not to the terminal.

    Returns:
        The path of the file.
    """
    files = [handler for handler in get_logger().handlers if isinstance(handler, logging.FileHandler)]
    info = (type(error), error, error.__traceback__)
    record = logging.LogRecord('mmkit', logging.ERROR, '', 0, 'stopped by an error', args=None, exc_info=info)
    for handler in files:
        handler.handle(record)
    return files[0].baseFilename if files else None


@functools.cache
def warn_once(message: str) -> None:
    """Log a warning, only once for each message."""
    get_logger().warning(message)


class _Terminal(logging.Handler):
    """Lines above the progress bars on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        if not logging.getLogger().handlers:
            tqdm.write(self.format(record), file=sys.stderr)


def _attach(logger: logging.Logger, handler: logging.Handler) -> None:
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(_only_first_process)
    logger.addHandler(handler)


def _only_first_process(record: logging.LogRecord) -> bool:
    return os.environ.get('RANK', '0') == '0' or record.levelno >= logging.ERROR
