"""Imports go down only, and what has to answer at once does not wait for torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / 'mmkit'
FLOORS = {
    'version': -1,  # a number, which even a util may name
    'errors': -1,  # imports nothing
    'utils': 0,
    'config': 1,
    'schedules': 1,
    'ops': 2,
    'structures': 3,
    'protocols': 4,
    'registry': 5,
    'dialects': 6,
    'bbox': 7,
    'layers': 7,
    'evaluation': 7,
    'visualization': 7,
    'transforms': 8,
    'metrics': 8,
    'models': 9,
    'datasets': 9,
    'engine': 10,
    'apis': 11,
    'cli': 12,
}


def room_of(module: str) -> str:
    """`mmkit.bbox.iou` -> `bbox`; the package itself stands for its highest part, the registry."""
    parts = module.split('.')
    return parts[1] if len(parts) > 1 else 'registry'


def imported_rooms(file: Path):
    """(line, room) of every import of mmkit in a file, also those inside functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{file}:{node.lineno}: imports are absolute'
            submodules = [f'{node.module}.{alias.name}' for alias in node.names]
            is_root = node.module == 'mmkit'
            modules = [name if is_root and room_of(name) in FLOORS else node.module for name in submodules]
        else:
            continue
        yield from ((node.lineno, room_of(name)) for name in modules if name.split('.')[0] == 'mmkit')


def test_every_room_has_a_floor():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == '.py' or (path / '__init__.py').exists()}
    assert rooms - {'__init__', '__main__'} <= set(FLOORS)


def test_imports_go_down():
    wrong = []
    for file in PACKAGE.rglob('*.py'):
        room = file.relative_to(PACKAGE).with_suffix('').parts[0]
        if room in ('__init__', '__main__'):
            continue
        for line, other in imported_rooms(file):
            if other != room and FLOORS[other] >= FLOORS[room]:
                wrong.append(f'{file.relative_to(PACKAGE.parent)}:{line}: {room} imports {other}')
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('module', ['mmkit', 'mmkit.config', 'mmkit.cli.main', 'mmkit.cli.print_config'])
def test_torch_is_not_imported(module):
    code = f'import {module}, sys; sys.exit(any(name in sys.modules for name in ("torch", "numpy", "cv2")))'
    assert subprocess.run([sys.executable, '-c', code], cwd=PACKAGE.parent).returncode == 0
