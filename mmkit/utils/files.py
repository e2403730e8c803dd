"""Atomic writing and hashes of files, and the check that files are on the disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mmkit.errors import InvalidValueError


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = 'wb') -> Iterator[IO[Any]]:
    """Open a file for writing that appears under `path` only when it is complete and on the disk.

    It is written under a temporary name in the same directory, synced and renamed. On a failure, such as a full disk,
    the temporary file is removed and a previous file at `path` stays.

    Args:
        path: the directory is made if it isn't there.
        mode: 'wb' or 'w' (UTF-8).
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f'.{target.name}.', suffix='.tmp', dir=target.parent)
    try:
        with os.fdopen(handle, mode, encoding=None if 'b' in mode else 'utf-8') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_directory(directory: Path) -> None:
    """Make a rename durable, where the system lets a directory be opened."""
    if os.name != 'posix':
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_disk(file_client_args: Mapping[str, Any] | None) -> None:
    """Raises an InvalidValueError if files shall come from or go to anywhere but the disk."""
    if file_client_args is not None and dict(file_client_args) != {'backend': 'disk'}:
        raise InvalidValueError(
            f"file_client_args: only dict(backend='disk') is supported, got {dict(file_client_args)}",
            key='file_client_args',
        )
