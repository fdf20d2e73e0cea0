"""The body of a request: a stretch of a blob, read piece by piece, as often as it must be sent."""

from collections.abc import Iterator

from rlrun.archive import stopping
from rlrun.archive.blobs import Blob
from rlrun.errors import RlrunError, StorageError

PIECE_BYTES = 256 * 1024  # each has the whole time-out to itself


class Body:
    """Some bytes of a blob, as a file that can be read from its beginning again.

    What goes wrong here is kept in `failure`: a client would take it for the network's fault.
    """

    def __init__(self, blob: Blob, start: int, size: int) -> None:
        self._blob, self._start, self._size = blob, start, size
        self._position = 0
        self.failure: RlrunError | None = None

    def __len__(self) -> int:
        return self._size

    def tell(self) -> int:
        """Return how far it is read."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, from the beginning, from here, or from the end."""
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, by default all that are left."""
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._read(self._start + self._position, wanted)
        self._position += wanted
        return data

    def _read(self, start: int, size: int) -> bytes:
        stopping.check()
        try:
            data = self._blob.read(start, size)
        except RlrunError as error:
            self.failure = error
            raise
        except OSError as error:
            self.failure = StorageError(f"cannot read what is to be archived: {error}; check the "
                                        "disk")  # fmt: skip
            raise self.failure from error
        if len(data) != size:
            self.failure = StorageError("what is to be archived became shorter meanwhile; run the "
                                        "command again")  # fmt: skip
            raise self.failure
        return data

    def pieces(self) -> "Pieces":
        """Return the whole body, to be sent piece by piece."""
        return Pieces(self)


class Pieces:
    """A body that is iterated over, each time from its beginning."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def seek(self, offset: int, whence: int = 0) -> int:
        """Do nothing: each iteration begins anew, and that is what a client wants of this."""
        return offset + whence

    def __iter__(self) -> Iterator[bytes]:
        self._body.seek(0)
        while piece := self._body.read(PIECE_BYTES):
            yield piece
