"""Settings of the whole test run, and what every test must leave as it was."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import pytest

# Before torch is imported: tests are small, and two processes with two threads each only wait for one another.
os.environ.setdefault('OMP_NUM_THREADS', '1')

GRACE = 5.0  # seconds for threads and processes that have been told to end
# Of libraries, once for the whole process.
LASTING_THREADS = ('tqdm', 'pytest_timeout')
LASTING_VARIABLES = ('LD_LIBRARY_PATH', 'QT_QPA_FONTDIR', 'TORCHINDUCTOR_CACHE_DIR')


@pytest.fixture(autouse=True)
def _nothing_leaks():
    """Fail a test that leaves threads, processes, environment variables, files or process-wide settings behind."""
    torch_is_loaded = 'torch' in sys.modules  # a test may be the first to import it
    before, logs, files = settings(torch_is_loaded), log_files(), files_here()
    threads, processes = own_threads(), children()
    yield
    for thread in own_threads() - threads:
        thread.join(GRACE)
    for process in multiprocessing.active_children():
        process.join(GRACE)
    after = settings(torch_is_loaded)
    leaked = [f'{key}: {before.get(key)!r} became {after.get(key)!r}' for key in after if before.get(key) != after[key]]
    leaked += [f'{key} was {before[key]!r} and is gone' for key in before.keys() - after.keys()]
    leaked += [f'thread {thread.name} ({type(thread).__module__})' for thread in own_threads() - threads]
    leaked += [f'process {pid}' for pid in children() - processes]
    leaked += [f'open log {path}' for path in log_files() - logs]
    leaked += [f'file {name} in the working directory' for name in files_here() - files]
    assert not leaked, 'the test leaves behind: ' + '; '.join(leaked)


@pytest.fixture(scope='session')
def spawn_context() -> SpawnContext:
    """Starts processes with a fresh interpreter; the tracker that comes with the first of them stays."""
    resource_tracker.ensure_running()
    return multiprocessing.get_context('spawn')


def settings(of_torch: bool) -> dict[str, Any]:
    """Process-wide state by a name for messages, with that of torch or without."""
    state: dict[str, Any] = {f'environment variable {key}': value for key, value in os.environ.items()}
    for name in ('PYTEST_CURRENT_TEST', *LASTING_VARIABLES):
        state.pop(f'environment variable {name}', None)
    state.update(
        {
            'working directory': os.getcwd(),
            'sys.argv': list(sys.argv),
            'sys.path': list(sys.path),
            # the first of all is the default, which the first process fixes
            'start method of processes': multiprocessing.get_start_method(allow_none=True)
            or multiprocessing.get_all_start_methods()[0],
            'handler of SIGTERM': signal.getsignal(signal.SIGTERM),
            'handler of SIGINT': signal.getsignal(signal.SIGINT),
        }
    )
    if of_torch:
        torch = sys.modules['torch']
        state.update(
            {
                'default dtype': torch.get_default_dtype(),
                'number of threads': torch.get_num_threads(),
                'gradient mode': torch.is_grad_enabled(),
                'deterministic algorithms': torch.are_deterministic_algorithms_enabled(),
                'cuDNN': (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
                'process group': torch.distributed.is_available() and torch.distributed.is_initialized(),
            }
        )
    return state


def log_files() -> set[str]:
    """Files that the loggers write to."""
    handlers = [*logging.getLogger().handlers, *logging.getLogger('mmkit').handlers]
    return {handler.baseFilename for handler in handlers if isinstance(handler, logging.FileHandler)}


def own_threads() -> set[threading.Thread]:
    """Threads that run, but for those of libraries that last."""
    running = threading.enumerate()
    return {each for each in running if not any(name in type(each).__module__ for name in LASTING_THREADS)}


def files_here() -> set[str]:
    """Names in the working directory, but for those of caches."""
    return {name for name in os.listdir() if not name.startswith(('.', '__pycache__'))}


def children() -> set[int]:
    """Processes that this one has started and not waited for; empty where the system doesn't list them."""
    lists = Path('/proc/self/task').glob('*/children')
    try:
        return {int(pid) for file in lists for pid in file.read_text().split()}
    except OSError:
        return set()
