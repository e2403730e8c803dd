"""Settings of the whole test run."""

from __future__ import annotations

import os

# Before torch is imported: tests are small, and two processes with two threads each only wait for one another.
os.environ.setdefault('OMP_NUM_THREADS', '1')
