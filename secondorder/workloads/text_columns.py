"""Columns of a long file, in little more memory than their characters and numbers."""

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeAlias, overload

PIECE = 1 << 14
"""Values of a piece."""
_BETWEEN = "\x1f"
"""Character between the texts of a piece."""

Piece: TypeAlias = "str | array[int] | array[float] | tuple[object, ...]"


class Column(Sequence[object]):
    """Values of a column: texts are kept as one text for each ``PIECE`` of them, numbers as an array.

    >>> column = Column()
    >>> column.add(["4808", "", "110"])
    >>> len(column), column[2], list(column)
    (3, '110', ['4808', '', '110'])
    """

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._count = 0
        self._read: tuple[int, Sequence[object]] = (-1, ())

    def add(self, values: Sequence[object]) -> None:
        """Add a piece: ``PIECE`` values, or fewer if it is the last one."""
        self._pieces.append(_kept(values))
        self._count += len(values)

    def pieces(self) -> Iterator[Sequence[object]]:
        """The values, a piece at a time."""
        for number in range(len(self._pieces)):
            yield self._piece(number)

    def _piece(self, number: int) -> Sequence[object]:
        piece = self._pieces[number]
        return piece.split(_BETWEEN) if isinstance(piece, str) else piece

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[object]:
        for piece in self.pieces():
            yield from piece

    @overload
    def __getitem__(self, index: int) -> object: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[object]: ...

    def __getitem__(self, index: int | slice) -> object:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(self._count))]
        number, place = divmod(range(self._count)[index], PIECE)
        if self._read[0] != number:
            self._read = number, self._piece(number)
        return self._read[1][place]


def _kept(values: Sequence[object]) -> Piece:
    """Values as compact as they can be without a change."""
    kinds = set(map(type, values))
    if kinds == {str}:
        joined = _BETWEEN.join(map(str, values))
        return joined if joined.count(_BETWEEN) == len(values) - 1 else tuple(values)
    try:
        if kinds == {int}:
            return array("q", [each for each in values if isinstance(each, int)])
        if kinds == {float}:
            return array("d", [each for each in values if isinstance(each, float)])
    except OverflowError:  # an integer of more than 64 bits
        pass
    return tuple(values)


class Places(Sequence[str]):
    """Where each row stands: a word and its number.

    >>> Places("line", [2, 3, 5])[-1]
    'line 5'
    """

    def __init__(self, word: str, numbers: Sequence[int]) -> None:
        self._word, self._numbers = word, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return Places(self._word, self._numbers[index])
        return f"{self._word} {self._numbers[index]}"


def pieces_of(values: Sequence[object]) -> Iterator[Sequence[object]]:
    """The values of any column, a piece at a time."""
    if isinstance(values, Column):
        yield from values.pieces()
    else:
        each = iter(values)
        while piece := list(islice(each, PIECE)):
            yield piece


def lines_of(text: str) -> Iterator[str]:
    """The lines of a text with their ends.

    >>> list(lines_of("a,b\\n1,2"))
    ['a,b\\n', '1,2']
    """
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end
