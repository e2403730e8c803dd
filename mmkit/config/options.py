"""`--cfg-options KEY=VALUE ...`: values as literals, never as code."""

from __future__ import annotations

import ast
from argparse import Action, ArgumentError, ArgumentParser, Namespace
from typing import Any

from mmkit.errors import InvalidValueError

_WORDS = {'true': True, 'false': False, 'none': None}
_PAIRS = {'[': ']', '(': ')', '{': '}'}


class DictAction(Action):
    """An argparse action that collects `KEY=VALUE` words into a dict; `nargs='+'`, the option may be repeated."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        options = dict(getattr(namespace, self.dest, None) or {})
        for word in values:
            key, equals, text = word.partition('=')
            if not (key and equals):
                raise ArgumentError(self, f'expected KEY=VALUE, got {word!r}')
            try:
                options[key] = parse_value(text)
            except ValueError as error:
                raise ArgumentError(self, f'{word!r}: {error}') from None
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """The value that an option spells: a literal, a list, a tuple, or text.

    `1`, `1e-3`, `True`, `None`, `'text'`, `[1,2]`, `(1333,800)` and `{'type': 'BN'}` are read as Python literals and
    `x,y` as a list; words need no quotes, inside `[...]` and `(...)` neither; anything else is text.

    Raises:
        InvalidValueError: brackets or quotes are not closed.
    """
    text = text.strip()
    if len(_split(text)) > 1:
        return _items(text)
    if text[:1] in ('[', '(') and text[-1] == _PAIRS[text[0]]:
        inner = text[1:-1].rstrip()
        items = _items(inner)
        if text[0] == '[':
            return items
        return items[0] if len(items) == 1 and not inner.endswith(',') else tuple(items)
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if text[:1] in ('{', '"', "'"):
            raise InvalidValueError(f'{text} is not a literal') from None
        return text


def _items(text: str) -> list[Any]:
    parts = _split(text)
    if not parts[-1].strip():  # nothing at all, or a comma at the end
        parts.pop()
    return [parse_value(part) for part in parts]


def _split(text: str) -> list[str]:
    """`text` at the commas outside brackets and quotes."""
    parts = ['']
    closers: list[str] = []  # of the brackets that are open
    quote = ''
    for index, char in enumerate(text):
        if quote:
            quote = '' if char == quote and text[index - 1] != '\\' else quote
        elif char in '"\'' and (index == 0 or text[index - 1] in ' ,=:[({'):  # elsewhere it is an apostrophe
            quote = char
        elif char in _PAIRS:
            closers.append(_PAIRS[char])
        elif closers and char == closers[-1]:
            closers.pop()
        elif char == ',' and not closers:
            parts.append('')
            continue
        parts[-1] += char
    if quote or closers:
        raise InvalidValueError(f'{quote or closers[-1]} is missing')
    return parts
