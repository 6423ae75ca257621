"""Digits, and the CIFAR-10 reader on tiny files of the official layout."""

import hashlib
import io
import tarfile
import threading

import numpy as np
import pytest
from workloads import config

from nodes import cifar10, data
from nodes.config import Data, check, prepare

RECORDS = 6


def file_content(number: int) -> bytes:
    """A data file of RECORDS records: labels count up, each pixel plane is filled with its own value."""
    records = np.zeros((RECORDS, cifar10.RECORD_BYTES), dtype=np.uint8)
    records[:, 0] = (np.arange(RECORDS) + number) % 10
    for plane in range(3):
        records[:, 1 + 1024 * plane : 1 + 1024 * (plane + 1)] = 10 * number + plane
    return records.tobytes()


def archive_content(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


NAMES = cifar10.FILES["train"] + cifar10.FILES["test"]
OFFICIAL = {f"{cifar10.FOLDER}/{name}": file_content(k) for k, name in enumerate(NAMES, start=1)}


@pytest.fixture
def put_archive(tmp_path, monkeypatch):
    """Writes an archive into the folder and makes its checksum and its files' size the expected ones."""
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)

    def put(contents=OFFICIAL, *, checksum=True):
        content = archive_content(contents)
        (tmp_path / cifar10.ARCHIVE).write_bytes(content)
        if checksum:
            monkeypatch.setattr(cifar10, "MD5", hashlib.md5(content).hexdigest())
        return tmp_path

    return put


def test_the_archive_is_unpacked_and_read(put_archive):
    parts, labels = cifar10.read(put_archive(), "train", download=False)
    assert labels.tolist() == [(k + number) % 10 for number in range(1, 6) for k in range(RECORDS)]
    assert [part.shape for part in parts] == [(RECORDS, 3, 32, 32)] * 5
    assert (parts[2][0, 1] == 31).all()
    parts, labels = cifar10.read(put_archive(), "test", download=False)
    assert (parts[0][:, 2] == 62).all()
    assert len(labels) == RECORDS


def test_unpacked_files_are_read_where_they_lie(put_archive):
    folder = put_archive()
    unpacked = cifar10.prepare(folder, download=False)
    (folder / cifar10.ARCHIVE).unlink()
    assert cifar10.prepare(folder, download=False) == unpacked
    assert cifar10.prepare(unpacked, download=False) == unpacked


def test_a_client_takes_its_own_images_in_their_order(put_archive):
    settings = Data(name="cifar10", folder=str(put_archive()))
    source = data.load(settings, "train", seed=1)
    positions = np.array([3, 29, 0])
    taken = source.take(positions)
    assert taken.labels.tolist() == source.labels[positions].tolist()
    for pixels, row in zip(taken.pixels, source.rows[positions], strict=True):
        assert (pixels == source.parts[row // RECORDS][row % RECORDS]).all()
    images = taken.images(np.array([1]))
    assert images.dtype == np.float32
    number = source.rows[29] // RECORDS + 1
    assert images[0, 0, 0, 0] == pytest.approx((10 * number / 255 - 0.4914) / 0.2470, rel=1e-4)


def test_nodes_that_start_together_unpack_once(put_archive):
    folder = put_archive()
    found, threads = [], []
    for _ in range(6):
        threads.append(threading.Thread(target=lambda: found.append(cifar10.prepare(folder, download=False))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert found == [folder / cifar10.FOLDER] * 6
    assert sorted(path.name for path in folder.iterdir()) == [
        ".cifar-10.lock",
        cifar10.FOLDER,
        cifar10.ARCHIVE,
    ]


def test_an_archive_may_be_downloaded_when_that_is_allowed(put_archive, tmp_path, monkeypatch):
    content = (put_archive() / cifar10.ARCHIVE).read_bytes()
    (tmp_path / cifar10.ARCHIVE).unlink()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(content))
    folder = tmp_path / "new"
    assert cifar10.prepare(folder, download=True) == folder / cifar10.FOLDER
    assert (folder / cifar10.ARCHIVE).read_bytes() == content


def test_a_download_of_something_else_leaves_nothing_behind(put_archive, tmp_path, monkeypatch):
    (put_archive() / cifar10.ARCHIVE).unlink()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(b"<html>"))
    with pytest.raises(ValueError, match="has the MD5 checksum"):
        cifar10.prepare(tmp_path, download=True)
    assert [path.name for path in tmp_path.iterdir()] == [".cifar-10.lock"]


def test_an_unreachable_server_is_one_line(tmp_path, monkeypatch):
    def refuse(url, timeout):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(ValueError, match=r"could not be prepared in .*: no route to host"):
        cifar10.prepare(tmp_path, download=True)


def test_missing_files_come_with_an_instruction(tmp_path):
    with pytest.raises(
        ValueError, match=r"put cifar-10-binary.tar.gz from https://.* there, or set .*download"
    ) as error:
        cifar10.prepare(tmp_path / "data", download=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data").exists()


def test_a_wrong_checksum_is_named(put_archive):
    with pytest.raises(ValueError, match=f"instead of {cifar10.MD5}: delete it and fetch it again"):
        cifar10.prepare(put_archive(checksum=False), download=False)


def test_an_archive_without_the_files_is_refused(put_archive):
    with pytest.raises(ValueError, match=r"no file cifar-10-batches-bin/data_batch_1.bin"):
        cifar10.prepare(put_archive({"cifar-10-batches-py/data_batch_1": b"x"}), download=False)


def test_an_archive_cannot_write_outside_its_folder(put_archive):
    evil = {**OFFICIAL, "../evil": b"x", "/tmp/evil": b"x"}
    folder = put_archive(evil)
    cifar10.prepare(folder, download=False)
    assert not (folder.parent / "evil").exists()
    assert sorted(path.name for path in (folder / cifar10.FOLDER).iterdir()) == sorted(NAMES)


def test_what_is_no_archive_is_refused(put_archive, monkeypatch):
    folder = put_archive()
    (folder / cifar10.ARCHIVE).write_bytes(b"no archive")
    monkeypatch.setattr(cifar10, "MD5", hashlib.md5(b"no archive").hexdigest())
    with pytest.raises(ValueError, match="no gzipped tar archive"):
        cifar10.prepare(folder, download=False)
    assert not (folder / cifar10.FOLDER).exists()


@pytest.mark.parametrize("damage", ["truncated", "missing", "label"])
def test_damaged_files_are_named(put_archive, damage):
    folder = put_archive()
    path = cifar10.prepare(folder, download=False) / "data_batch_3.bin"
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-1] if damage == "truncated" else b"\x0b" + content[1:])
    with pytest.raises(ValueError, match=r"data_batch_3.bin .*unpack"):
        cifar10.read(folder, "train", download=False)


def test_missing_cifar_10_is_for_prepare_to_report(tmp_path):
    workload = {
        "data": {"name": "cifar10", "folder": str(tmp_path)},
        "model": {"name": "vgg16", "cut": "pool2"},
    }
    check(config(**workload), {"server": ["server"], "client": ["client"]})
    with pytest.raises(ValueError, match="CIFAR-10 is not in"):
        prepare(config(**workload))


def test_digits_are_split_once_and_scaled():
    settings = Data(name="digits")
    train, test = (data.load(settings, split, seed=1) for split in ("train", "test"))
    assert (len(train.labels), len(test.labels)) == (1437, 360)
    assert not set(train.rows.tolist()) & set(test.rows.tolist())
    images = test.take().images(slice(None))
    assert images.shape == (360, 1, 8, 8)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert set(test.labels.tolist()) == set(range(10))


def test_another_seed_splits_digits_otherwise():
    one, same, other = (data.load(Data(name="digits"), "test", seed).rows.tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_fewer_samples_are_a_choice_by_seed():
    source = data.load(Data(name="digits", train_samples=100), "train", seed=1)
    assert len(source.labels) == len(source.take().labels) == 100


def test_digits_are_what_scikit_learn_says_they_are() -> None:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    (found,), found_labels = data._digits()
    assert np.array_equal(found.reshape(len(found), -1), pixels)
    assert np.array_equal(found_labels, labels)
