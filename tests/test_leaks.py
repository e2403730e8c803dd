"""Tests that leave something behind fail."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LEAKS = """
import logging, multiprocessing, os, signal, subprocess, sys, threading

def test_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv('LEAK', '1')
    monkeypatch.chdir(tmp_path)
    thread = threading.Thread(target=lambda: None)
    thread.start()

def test_variable():
    os.environ['LEAK'] = '1'

def test_directory(tmp_path):
    os.chdir(tmp_path)

def test_thread():
    event = threading.Event()
    threading.Thread(target=event.wait, args=(20,), name='waiting', daemon=True).start()

def test_process():
    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])

def test_path():
    sys.path.append('/leak')

def test_signal():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

def test_file():
    open('left', 'w').close()

def test_log(tmp_path):
    logging.getLogger('mmkit').addHandler(logging.FileHandler(tmp_path / 'a.log'))
"""
EXPECTED = {
    'variable': 'environment variable LEAK',
    'directory': 'working directory',
    'thread': 'thread waiting',
    'process': 'process ',
    'path': 'sys.path',
    'signal': 'handler of SIGTERM',
    'file': 'file left',
    'log': 'open log ',
}


def test_leaks_are_named(tmp_path: Path) -> None:
    conftest = (Path(__file__).parent / 'conftest.py').read_text()
    (tmp_path / 'conftest.py').write_text(re.sub(r'GRACE = .*', 'GRACE = 0.0', conftest))
    (tmp_path / 'test_leaks.py').write_text(LEAKS)
    run = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', 'test_leaks.py'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert '9 passed' in run.stdout and '8 errors' in run.stdout, run.stdout
    for name, message in EXPECTED.items():
        report = run.stdout.split(f'ERROR at teardown of test_{name} ')[1].split('_ ERROR at')[0]
        assert f'leaves behind: {message}' in report, (name, report)
