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

TORCH_FREE = (
    'mmkit',
    'mmkit.config',
    'mmkit.errors',
    'mmkit.protocols',
    'mmkit.registry',
    'mmkit.schedules',
    'mmkit.dialects',
    'mmkit.cli.main',
    'mmkit.cli.print_config',
)


def room_of(module: str) -> str:
    """`mmkit.bbox.iou` -> `bbox`; the package itself stands for its highest part, the registry."""
    parts = module.split('.')
    return parts[1] if len(parts) > 1 else 'registry'


def imports_of(file: Path):
    """(line, module) of every import of mmkit in a file, also those inside functions and under TYPE_CHECKING.

    `from mmkit.bbox import iou` imports `mmkit.bbox`, and the module `mmkit.bbox.iou` if there is one.
    """
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{file}:{node.lineno}: imports are absolute'
            submodules = {f'{node.module}.{alias.name}' for alias in node.names}
            names = [str(node.module), *(submodules & MODULES.keys())]
        else:
            continue
        yield from ((node.lineno, name) for name in sorted(names) if name.split('.')[0] == 'mmkit')


def module_of(file: Path) -> str:
    return '.'.join(file.relative_to(PACKAGE.parent).with_suffix('').parts).removesuffix('.__init__')


MODULES = {module_of(file): file for file in PACKAGE.rglob('*.py')}


def test_every_room_has_a_floor():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == '.py' or (path / '__init__.py').exists()}
    assert rooms - {'__init__', '__main__'} <= set(FLOORS)


def test_imports_go_down():
    wrong = []
    for module, file in MODULES.items():
        room = room_of(module)
        if module in ('mmkit', 'mmkit.__main__'):
            continue
        for line, imported in imports_of(file):
            other = room_of(imported)
            if other != room and FLOORS[other] >= FLOORS[room]:
                wrong.append(f'{file.relative_to(PACKAGE.parent)}:{line}: {room} imports {other}')
    assert not wrong, '\n'.join(wrong)


def test_an_import_under_type_checking_counts(tmp_path):
    file = tmp_path / 'x.py'
    file.write_text(
        'from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mmkit.engine import runner, hooks\n'
        'def f():\n    import mmkit.cli.main\n    from mmkit import registry, Config\n'
    )
    expected = [
        (3, 'mmkit.engine'),
        (3, 'mmkit.engine.hooks'),
        (3, 'mmkit.engine.runner'),
        (5, 'mmkit.cli.main'),
        (6, 'mmkit'),
        (6, 'mmkit.registry'),
    ]
    assert sorted(imports_of(file)) == expected


def test_no_module_imports_itself_in_a_circle():
    left = {module: {name for _, name in imports_of(file)} - {module} for module, file in MODULES.items()}
    while leaves := [module for module, names in left.items() if not names & left.keys()]:
        for module in leaves:
            del left[module]
    while tops := set(left) - {name for names in left.values() for name in names}:
        for module in tops:
            del left[module]
    assert not {module: sorted(names & left.keys()) for module, names in left.items()}


@pytest.mark.parametrize('module', TORCH_FREE)
def test_torch_is_not_imported(module):
    code = f'import {module}, sys; sys.exit(any(name in sys.modules for name in ("torch", "numpy", "cv2")))'
    assert subprocess.run([sys.executable, '-c', code], cwd=PACKAGE.parent).returncode == 0
