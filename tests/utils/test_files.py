from __future__ import annotations

import hashlib
import os

import pytest

from mmkit.utils.files import atomic_write, check_disk, sha256


def test_the_file_appears_complete(tmp_path):
    path = tmp_path / 'deep' / 'a.bin'
    with atomic_write(path) as file:
        file.write(b'12')
        assert not path.exists()
    assert path.read_bytes() == b'12'
    assert os.listdir(path.parent) == ['a.bin']


def test_text_is_utf8_and_readable_like_any_file(tmp_path):
    with atomic_write(tmp_path / 'a.txt', 'w') as file:
        file.write('é')
    (tmp_path / 'plain').touch()
    assert (tmp_path / 'a.txt').read_bytes() == 'é'.encode()
    assert (tmp_path / 'a.txt').stat().st_mode == (tmp_path / 'plain').stat().st_mode


@pytest.mark.parametrize('error', [OSError(28, 'No space left on device'), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / 'a').write_text('old')
    with pytest.raises(type(error)), atomic_write(tmp_path / 'a', 'w') as file:
        file.write('new')
        raise error
    assert (tmp_path / 'a').read_text() == 'old'
    assert os.listdir(tmp_path) == ['a']


def test_sha256(tmp_path):
    (tmp_path / 'a').write_bytes(b'x' * 3_000_000)
    assert sha256(tmp_path / 'a') == hashlib.sha256(b'x' * 3_000_000).hexdigest()


def test_only_the_disk():
    check_disk(None)
    check_disk({'backend': 'disk'})
    with pytest.raises(ValueError, match='petrel') as error:
        check_disk({'backend': 'petrel'})
    assert error.value.key == 'file_client_args'
