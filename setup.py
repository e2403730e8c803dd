"""Installs mmkit; dependencies are listed in requirements/*.txt, the version in mmkit/version.py."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


def version() -> str:
    found = re.search(r"__version__ = '([^']+)'", (ROOT / 'mmkit' / 'version.py').read_text())
    if found is None:
        raise RuntimeError('no __version__ in mmkit/version.py')
    return found.group(1)


setup(
    name='mmkit',
    version=version(),
    description='Object detection with the configs and checkpoints of mmdetection 2.x and 3.x, on torch alone',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmkit', 'mmkit.*']),
    package_data={'mmkit': ['py.typed']},
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require={
        'tests': requirements('tests'),
        'optional': requirements('optional'),
        'docs': requirements('docs'),
    },
    entry_points={'console_scripts': ['mmkit = mmkit.cli.main:main']},
)
