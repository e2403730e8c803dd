"""Downloads that resume, verify their hash, and appear under the final name only when complete."""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from filelock import FileLock

from mmkit.errors import UserError
from mmkit.utils.files import sha256
from mmkit.utils.logging import get_logger
from mmkit.utils.progress import track

ATTEMPTS = 3
TIMEOUT = 30.0  # seconds without a byte
BLOCK = 1 << 18


class DownloadError(UserError, OSError):
    """A file could not be downloaded, or its hash is wrong."""


def download(url: str, directory: Path) -> Path:
    """The file of a URL in `directory`, downloaded if it isn't there yet.

    An interrupted download resumes, at once or in the next call. Of several processes one downloads, the others wait.

    Args:
        url: the SHA-256 of the file is checked if the URL ends in `#sha256=<64 digits>`, and its first 8 digits if the
            file name ends in them (`resnet50-0676ba61.pth`, `faster_rcnn_..._20200130-047c8118.pth`).
        directory: a file whose name has no such digits goes into a directory of its own under it.

    Raises:
        DownloadError: with the path to which the file can be copied by hand.
    """
    address, fragment = urldefrag(url)
    target = directory / place_of(address)
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f'{target}.lock'):
        if not target.is_file():
            part = target.with_name(f'{target.name}.part')
            try:
                _fetch(address, part)
                _check(part, _expected_hash(target.name, fragment))
            except (OSError, http.client.HTTPException) as error:
                raise DownloadError(
                    f'{address} could not be downloaded: {error}. Call again to resume, '
                    f'or get the file in another way and put it at {target}'
                ) from error
            part.replace(target)
            _tag_file(part).unlink(missing_ok=True)
    return target


def place_of(address: str) -> Path:
    """Path of a URL's file in the cache: its name if that contains a hash, else in a folder named by the URL's hash."""
    name = unquote(Path(urlsplit(address).path).name)
    if not name:
        raise DownloadError(f'{address} does not name a file')
    if _expected_hash(name, ''):
        return Path(name)
    return Path(hashlib.sha256(address.encode()).hexdigest()[:8]) / name


def _expected_hash(name: str, fragment: str) -> str:
    """The digits that the file's SHA-256 must start with; empty if unknown."""
    full = re.fullmatch(r'sha256=([0-9a-fA-F]{64})', fragment)
    if fragment and not full:
        raise DownloadError(f'#{fragment} is not of the form #sha256=<64 hexadecimal digits>')
    short = re.search(r'-([0-9a-f]{8})\.\w+$', name)
    return full[1].lower() if full else short[1] if short else ''


def _check(part: Path, expected: str) -> None:
    actual = sha256(part)
    if not actual.startswith(expected):
        part.unlink()
        _tag_file(part).unlink(missing_ok=True)
        raise DownloadError(f'its SHA-256 is {actual}, expected {expected}{"..." if len(expected) < 64 else ""}')


def _fetch(address: str, part: Path) -> None:
    """Download to `part`, resuming after interruptions."""
    get_logger().info('downloading %s', address)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _fetch_rest(address, part)
            return
        except urllib.error.HTTPError as error:
            if error.code != 416 or attempt == ATTEMPTS:  # 416: the part is longer than the file, which has changed
                raise
            part.unlink(missing_ok=True)
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS:
                raise
            get_logger().warning('the download was interrupted (%s), resuming', error)


def _fetch_rest(address: str, part: Path) -> None:
    start = part.stat().st_size if part.is_file() else 0
    tag_file = _tag_file(part)
    headers = {'User-Agent': 'mmkit'}
    if start:
        headers['Range'] = f'bytes={start}-'
        if tag_file.is_file():
            headers['If-Range'] = tag_file.read_text()  # a file that has changed is sent as a whole
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT) as answer:
        if answer.status != 206:
            start = 0
        tag = answer.headers.get('ETag')
        if tag and not tag.startswith('W/'):
            tag_file.write_text(tag)
        else:
            tag_file.unlink(missing_ok=True)
        length = answer.headers.get('Content-Length')
        total = start + int(length) if length else None
        with (
            open(part, 'ab' if start else 'wb') as file,
            track(total=total, desc=part.stem, initial=start, unit='B', unit_scale=True) as bar,
        ):
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    size = part.stat().st_size
    if total is not None and size != total:
        raise http.client.HTTPException(f'{size:,} of {total:,} bytes arrived')


def _tag_file(part: Path) -> Path:
    return part.with_name(f'{part.name}.etag')
