"""Against a real HTTP server on the loopback."""

from __future__ import annotations

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mmkit.utils.download import DownloadError, download, place_of

CONTENT = bytes(range(256)) * 40
SHA = hashlib.sha256(CONTENT).hexdigest()
NAME = f'net-{SHA[:8]}.pth'


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every path.

    Attributes:
        break_after: the number of bytes after which each of the next answers breaks off.
        ranges: whether Range is understood.
        seen: the Range header of every request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(('localhost', 0), Handler)
        self.break_after: list[int] = []
        self.ranges = True
        self.etag = '"one"'
        self.seen: list[str | None] = []

    def url(self, name: str) -> str:
        return f'http://localhost:{self.server_port}/{name}'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get('Range')
        self.server.seen.append(asked)
        if 'missing' in self.path:
            self.send_error(404, 'Not Found')
            return
        start = int(asked[6:-1]) if asked and self.server.ranges else 0
        if self.headers.get('If-Range', self.server.etag) != self.server.etag:
            start = 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(CONTENT) - start))
        self.send_header('ETag', self.server.etag)
        self.end_headers()
        stop = self.server.break_after.pop(0) if self.server.break_after else len(CONTENT)
        self.wfile.write(CONTENT[start : start + stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_fetched_once(server, tmp_path):
    path = download(server.url(NAME), tmp_path)
    assert path == tmp_path / NAME
    assert path.read_bytes() == CONTENT
    download(server.url(NAME), tmp_path)
    assert len(server.seen) == 1
    assert sorted(set(os.listdir(tmp_path)) - {f'{NAME}.lock'}) == [NAME]


@pytest.mark.parametrize('ranges', [True, False])
def test_a_broken_answer_is_continued(server, tmp_path, ranges):
    server.break_after, server.ranges = [1000], ranges
    assert download(server.url(NAME), tmp_path).read_bytes() == CONTENT
    assert server.seen == [None, 'bytes=1000-']


def test_after_too_many_breaks_the_next_call_goes_on(server, tmp_path):
    server.break_after = [1000, 1000, 1000]
    with pytest.raises(DownloadError, match=rf'{NAME} could not be .* 3,000 of 10,240 bytes.*put it at {tmp_path}'):
        download(server.url(NAME), tmp_path)
    assert not (tmp_path / NAME).exists()
    assert download(server.url(NAME), tmp_path).read_bytes() == CONTENT
    assert server.seen[-1] == 'bytes=3000-'


def test_a_file_that_changed_meanwhile_starts_anew(server, tmp_path):
    server.break_after = [1000, 0, 0]
    with pytest.raises(DownloadError):
        download(server.url(NAME), tmp_path)
    server.etag = '"two"'
    assert download(server.url(NAME), tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_starts_anew(server, tmp_path):
    (tmp_path / f'{NAME}.part').write_bytes(b'x' * 20_000)
    assert download(server.url(NAME), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize('name', ['net-00000000.pth', f'net.pth#sha256={"0" * 64}'])
def test_a_wrong_hash_leaves_nothing(server, tmp_path, name):
    with pytest.raises(DownloadError, match=rf'its SHA-256 is {SHA}, expected 00000000'):
        download(server.url(name), tmp_path)
    assert {file.suffix for file in tmp_path.rglob('*') if file.is_file()} <= {'.lock'}


def test_the_full_hash_behind_the_address(server, tmp_path):
    assert download(f'{server.url("net.pth")}#sha256={SHA}', tmp_path).read_bytes() == CONTENT
    with pytest.raises(DownloadError, match='#md5=1 is not of the form'):
        download(server.url('other.pth#md5=1'), tmp_path)


def test_names_without_a_hash_do_not_collide():
    places = {str(place_of(f'http://host/{folder}/latest.pth')) for folder in 'ab'}
    assert len(places) == 2
    assert all(place.endswith('/latest.pth') for place in places)
    with pytest.raises(DownloadError, match='does not name a file'):
        place_of('http://host/')


def test_a_missing_file_says_where_to_put_it(server, tmp_path):
    with pytest.raises(DownloadError, match=rf'404.*put it at {tmp_path}/missing-00000000.pth'):
        download(server.url('missing-00000000.pth'), tmp_path)
    assert len(server.seen) == 1


def test_offline(tmp_path):
    with pytest.raises(DownloadError, match=f'could not be downloaded.*put it at {tmp_path}/{NAME}'):
        download(f'http://localhost:1/{NAME}', tmp_path)
