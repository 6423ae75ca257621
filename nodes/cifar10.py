"""CIFAR-10 from its official binary archive (Krizhevsky, 2009; https://www.cs.toronto.edu/~kriz/cifar.html).

Six files of 10,000 records, each record one label byte and 3,072 bytes of pixels (red, green, blue, each 32x32).
The files are found in a folder, unpacked from the archive in it, or, when allowed, downloaded.
"""

import fcntl
import hashlib
import shutil
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE = "cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
FOLDER = "cifar-10-batches-bin"
FILES = {
    "train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
    "test": ("test_batch.bin",),
}
RECORDS = 10_000
RECORD_BYTES = 1 + 3 * 32 * 32
ARCHIVE_LIMIT = 200 * 2**20  # bytes; the archive has 170 million
SILENCE = 60.0  # seconds without a byte after which a download is given up


def read(
    folder: Path, split: Literal["train", "test"], *, download: bool
) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Pixels, one memory-mapped uint8 array (10000, 3, 32, 32) per file, and all labels, int64 (n,).

    Raises ValueError when the files cannot be had or a label is not 0 to 9.
    """
    files = prepare(folder, download=download)
    pixels, labels = [], []
    for name in FILES[split]:
        records = np.memmap(files / name, dtype=np.uint8, mode="r", shape=(RECORDS, RECORD_BYTES))
        if records[:, 0].max() > 9:
            raise ValueError(f"{files / name} is damaged (a label above 9): delete it and unpack {ARCHIVE} again")
        labels.append(records[:, 0].astype(np.int64))
        pixels.append(records[:, 1:].reshape(RECORDS, 3, 32, 32))
    return pixels, np.concatenate(labels)


def prepare(folder: Path, *, download: bool) -> Path:
    """The folder that holds the six files, complete; unpacks or downloads them into `folder` if need be.

    Several nodes may call this at once: one works, the others wait for it. Raises ValueError with what to do.
    """
    for place in (folder / FOLDER, folder):
        if any((place / name).exists() for name in _names()):
            _check_sizes(place)
            return place
    archive = folder / ARCHIVE
    if not archive.exists() and not download:
        raise ValueError(
            f"CIFAR-10 is not in '{folder}': put {ARCHIVE} from {URL} there, or set workload.data.download to true"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if not (folder / FOLDER).exists():
                if not archive.exists():
                    _download(archive)
                _unpack(archive, folder)
    except (OSError, HTTPException) as error:
        raise ValueError(f"CIFAR-10 could not be prepared in '{folder}': {error}") from error
    _check_sizes(folder / FOLDER)
    return folder / FOLDER


def _names() -> tuple[str, ...]:
    return FILES["train"] + FILES["test"]


def _check_sizes(place: Path) -> None:
    for name in _names():
        path = place / name
        if not path.is_file():
            raise ValueError(f"{path} is missing: unpack {ARCHIVE} again")
        if path.stat().st_size != RECORDS * RECORD_BYTES:
            raise ValueError(
                f"{path} has {path.stat().st_size} bytes instead of {RECORDS * RECORD_BYTES}: "
                f"delete it and unpack {ARCHIVE} again"
            )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock file; the system lets go of it should this process die."""
    with (folder / ".cifar-10.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(archive: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=archive.parent, prefix=".download-") as partial:
        with urllib.request.urlopen(URL, timeout=SILENCE) as source:
            received = 0
            while block := source.read(2**20):
                received += len(block)
                if received > ARCHIVE_LIMIT:
                    raise ValueError(f"{URL} sent more than {ARCHIVE_LIMIT} bytes: this is not CIFAR-10")
                partial.write(block)
        partial.flush()
        _check_md5(Path(partial.name), f"what {URL} sent", "try again later")
        # A hard link puts the whole file in place at once, or nothing.
        archive.hardlink_to(partial.name)


def _check_md5(path: Path, what: str, remedy: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != MD5:
        raise ValueError(f"{what} has the MD5 checksum {found} instead of {MD5}: {remedy}")


def _unpack(archive: Path, folder: Path) -> None:
    """Take the six files, by name, out of the archive, whatever else is in it."""
    _check_md5(archive, str(archive), "delete it and fetch it again")
    unpacked = Path(tempfile.mkdtemp(dir=folder, prefix=".unpack-"))
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name in _names():
                _unpack_one(tar, name, unpacked / name)
        unpacked.chmod(0o755)
        unpacked.rename(folder / FOLDER)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive} is no gzipped tar archive: {error}") from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _unpack_one(tar: tarfile.TarFile, name: str, target: Path) -> None:
    try:
        member: IO[bytes] | None = tar.extractfile(f"{FOLDER}/{name}")
    except KeyError:
        member = None
    if member is None:
        raise ValueError(f"{ARCHIVE} has no file {FOLDER}/{name}: this is not the binary version of CIFAR-10")
    with target.open("wb") as file:
        # One byte more than it should have: enough for the size check to notice, too little to fill a disk.
        file.write(member.read(RECORDS * RECORD_BYTES + 1))
