"""CIFAR-10 and CIFAR-100 from their official binary archives (Krizhevsky, 2009; https://www.cs.toronto.edu/~kriz/cifar.html).

Files of records, each record its label bytes (CIFAR-100: a coarse and a fine one, which counts) and 3,072 bytes of
pixels (red, green, blue, each 32x32). The files are found in a folder, unpacked from the archive in it, or, when
allowed, downloaded.
"""

import fcntl
import hashlib
import shutil
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

PIXELS = 3 * 32 * 32
ARCHIVE_LIMIT = 200 * 2**20  # bytes; the larger archive has 170 million
SILENCE = 60.0  # seconds without a byte after which a download is given up


@dataclass(frozen=True)
class Archive:
    """An official archive. `files`: by split, the files' names, each of `records` records."""

    title: str
    url: str
    md5: str
    folder: str
    files: Mapping[str, tuple[str, ...]]
    records: Mapping[str, int]
    label_bytes: int
    classes: int

    @property
    def name(self) -> str:
        """Of the archive's own file."""
        return self.url.rpartition("/")[2]

    @property
    def sizes(self) -> dict[str, int]:
        """What each file must have, in bytes."""
        record = self.label_bytes + PIXELS
        return {name: self.records[split] * record for split, names in self.files.items() for name in names}


ARCHIVES = {
    "cifar10": Archive(
        "CIFAR-10",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
        {"train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)), "test": ("test_batch.bin",)},
        {"train": 10_000, "test": 10_000},
        label_bytes=1,
        classes=10,
    ),
    "cifar100": Archive(
        "CIFAR-100",
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
        {"train": ("train.bin",), "test": ("test.bin",)},
        {"train": 50_000, "test": 10_000},
        label_bytes=2,
        classes=100,
    ),
}


def read(
    archive: Archive, folder: Path, split: Literal["train", "test"], *, download: bool
) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Pixels, one memory-mapped uint8 array (records, 3, 32, 32) per file, and all labels, int64 (n,).

    Raises ValueError when the files cannot be had or a label is not of the data set.
    """
    files = prepare(archive, folder, download=download)
    count, before = archive.records[split], archive.label_bytes
    pixels, labels = [], []
    for name in archive.files[split]:
        records = np.memmap(files / name, dtype=np.uint8, mode="r", shape=(count, before + PIXELS))
        own = records[:, before - 1].astype(np.int64)
        if own.max() >= archive.classes:
            raise ValueError(
                f"{files / name} is damaged (a label above {archive.classes - 1}): delete it and unpack {archive.name} "
                "again"
            )
        labels.append(own)
        pixels.append(records[:, before:].reshape(count, 3, 32, 32))
    return pixels, np.concatenate(labels)


def prepare(archive: Archive, folder: Path, *, download: bool) -> Path:
    """The folder that holds the files, complete; unpacks or downloads them into `folder` if need be.

    Several nodes may call this at once: one works, the others wait for it. Raises ValueError with what to do.
    """
    for place in (folder / archive.folder, folder):
        if any((place / name).exists() for name in archive.sizes):
            _check_sizes(archive, place)
            return place
    packed = folder / archive.name
    if not packed.exists() and not download:
        raise ValueError(
            f"{archive.title} is not in '{folder}': put {archive.name} from {archive.url} there, or set "
            "workload.data.download to true"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(archive, folder):
            if not (folder / archive.folder).exists():
                if not packed.exists():
                    _download(archive, packed)
                _unpack(archive, packed, folder)
    except (OSError, HTTPException) as error:
        raise ValueError(f"{archive.title} could not be prepared in '{folder}': {error}") from error
    _check_sizes(archive, folder / archive.folder)
    return folder / archive.folder


def _check_sizes(archive: Archive, place: Path) -> None:
    for name, size in archive.sizes.items():
        path = place / name
        if not path.is_file():
            raise ValueError(f"{path} is missing: unpack {archive.name} again")
        if path.stat().st_size != size:
            raise ValueError(
                f"{path} has {path.stat().st_size} bytes instead of {size}: delete it and unpack {archive.name} again"
            )


@contextmanager
def _alone(archive: Archive, folder: Path) -> Iterator[None]:
    """Hold the archive's lock file; the system lets go of it should this process die."""
    with (folder / f".{archive.folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(archive: Archive, packed: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=packed.parent, prefix=".download-") as partial:
        with urllib.request.urlopen(archive.url, timeout=SILENCE) as source:  # noqa: S310 (https, by ARCHIVES)
            received = 0
            while block := source.read(2**20):
                received += len(block)
                if received > ARCHIVE_LIMIT:
                    raise ValueError(f"{archive.url} sent more than {ARCHIVE_LIMIT} bytes: this is not {archive.title}")
                partial.write(block)
        partial.flush()
        _check_md5(archive, Path(partial.name), f"what {archive.url} sent", "try again later")
        # A hard link puts the whole file in place at once, or nothing.
        packed.hardlink_to(partial.name)


def _check_md5(archive: Archive, path: Path, what: str, remedy: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != archive.md5:
        raise ValueError(f"{what} has the MD5 checksum {found} instead of {archive.md5}: {remedy}")


def _unpack(archive: Archive, packed: Path, folder: Path) -> None:
    """Take the files, by name, out of the archive, whatever else is in it."""
    _check_md5(archive, packed, str(packed), "delete it and fetch it again")
    unpacked = Path(tempfile.mkdtemp(dir=folder, prefix=".unpack-"))
    try:
        with tarfile.open(packed, "r:gz") as tar:
            for name, size in archive.sizes.items():
                _unpack_one(archive, tar, name, size, unpacked / name)
        unpacked.chmod(0o755)
        unpacked.rename(folder / archive.folder)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{packed} is no gzipped tar archive: {error}") from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _unpack_one(archive: Archive, tar: tarfile.TarFile, name: str, size: int, target: Path) -> None:
    try:
        member: IO[bytes] | None = tar.extractfile(f"{archive.folder}/{name}")
    except KeyError:
        member = None
    if member is None:
        raise ValueError(
            f"{archive.name} has no file {archive.folder}/{name}: this is not the binary version of {archive.title}"
        )
    with target.open("wb") as file:
        # One byte more than it should have: enough for the size check to notice, too little to fill a disk.
        file.write(member.read(size + 1))
