"""Digits, and the CIFAR-10 reader on tiny files of the official layout."""

import hashlib
import io
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest
from workloads import config

from nodes import cifar, data
from nodes.config import Data, check, prepare
from nodes.images import augmented, resized
from nodes.seeds import generator

RECORDS = 6
ONE = {"server": ["server"], "client": ["client"]}


def file_content(number: int, label_bytes: int = 1) -> bytes:
    """A data file of RECORDS records: labels count up, each pixel plane is filled with its own value."""
    records = np.zeros((RECORDS, label_bytes + cifar.PIXELS), dtype=np.uint8)
    records[:, label_bytes - 1] = (np.arange(RECORDS) + number) % 10
    for plane in range(3):
        start = label_bytes + 1024 * plane
        records[:, start : start + 1024] = 10 * number + plane
    return records.tobytes()


def archive_content(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


FOLDER = cifar.ARCHIVES["cifar10"].folder
PACKED = cifar.ARCHIVES["cifar10"].name
NAMES = list(cifar.ARCHIVES["cifar10"].sizes)
OFFICIAL = {f"{FOLDER}/{name}": file_content(k) for k, name in enumerate(NAMES, start=1)}


@pytest.fixture
def put_archive(tmp_path, monkeypatch):
    """Writes an archive into the folder and makes its checksum and its files' size the expected ones."""

    def put(contents=OFFICIAL, *, checksum=True, name="cifar10"):
        content = archive_content(contents)
        archive = replace(cifar.ARCHIVES[name], records={"train": RECORDS, "test": RECORDS})
        (tmp_path / archive.name).write_bytes(content)
        if checksum:
            archive = replace(archive, md5=hashlib.md5(content).hexdigest())
        monkeypatch.setitem(cifar.ARCHIVES, name, archive)
        return tmp_path

    return put


def read(folder, split, name="cifar10"):
    return cifar.read(cifar.ARCHIVES[name], folder, split, download=False)


def ready(folder, download=False):
    return cifar.prepare(cifar.ARCHIVES["cifar10"], folder, download=download)


def test_the_archive_is_unpacked_and_read(put_archive):
    parts, labels = read(put_archive(), "train")
    assert labels.tolist() == [(k + number) % 10 for number in range(1, 6) for k in range(RECORDS)]
    assert [part.shape for part in parts] == [(RECORDS, 3, 32, 32)] * 5
    assert (parts[2][0, 1] == 31).all()
    parts, labels = read(put_archive(), "test")
    assert (parts[0][:, 2] == 62).all()
    assert len(labels) == RECORDS


def test_cifar_100_has_two_labels_and_the_fine_one_counts(put_archive):
    contents = {
        f"cifar-100-binary/{name}.bin": file_content(k, label_bytes=2) for k, name in ((1, "train"), (2, "test"))
    }
    parts, labels = read(put_archive(contents, name="cifar100"), "test", "cifar100")
    assert labels.tolist() == [2, 3, 4, 5, 6, 7]
    assert (parts[0][:, 1] == 21).all()


def test_unpacked_files_are_read_where_they_lie(put_archive):
    folder = put_archive()
    unpacked = ready(folder)
    (folder / PACKED).unlink()
    assert ready(folder) == unpacked
    assert ready(unpacked) == unpacked


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
        threads.append(threading.Thread(target=lambda: found.append(ready(folder))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert found == [folder / FOLDER] * 6
    assert sorted(path.name for path in folder.iterdir()) == [
        f".{FOLDER}.lock",
        FOLDER,
        PACKED,
    ]


def test_an_archive_may_be_downloaded_when_that_is_allowed(put_archive, tmp_path, monkeypatch):
    content = (put_archive() / PACKED).read_bytes()
    (tmp_path / PACKED).unlink()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(content))
    folder = tmp_path / "new"
    assert ready(folder, download=True) == folder / FOLDER
    assert (folder / PACKED).read_bytes() == content


def test_a_download_of_something_else_leaves_nothing_behind(put_archive, tmp_path, monkeypatch):
    (put_archive() / PACKED).unlink()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(b"<html>"))
    with pytest.raises(ValueError, match="has the MD5 checksum"):
        ready(tmp_path, download=True)
    assert [path.name for path in tmp_path.iterdir()] == [f".{FOLDER}.lock"]


def test_an_unreachable_server_is_one_line(tmp_path, monkeypatch):
    def refuse(url, timeout):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(ValueError, match=r"could not be prepared in .*: no route to host"):
        ready(tmp_path, download=True)


def test_missing_files_come_with_an_instruction(tmp_path):
    with pytest.raises(
        ValueError, match=r"put cifar-10-binary.tar.gz from https://.* there, or set .*download"
    ) as error:
        ready(tmp_path / "data")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "data").exists()


def test_a_wrong_checksum_is_named(put_archive):
    with pytest.raises(ValueError, match=f"instead of {cifar.ARCHIVES['cifar10'].md5}: delete it and fetch it again"):
        ready(put_archive(checksum=False))


def test_an_archive_without_the_files_is_refused(put_archive):
    with pytest.raises(ValueError, match=r"no file cifar-10-batches-bin/data_batch_1.bin"):
        ready(put_archive({"cifar-10-batches-py/data_batch_1": b"x"}))


def test_an_archive_cannot_write_outside_its_folder(put_archive):
    evil = {**OFFICIAL, "../evil": b"x", "/tmp/evil": b"x"}
    folder = put_archive(evil)
    ready(folder)
    assert not (folder.parent / "evil").exists()
    assert sorted(path.name for path in (folder / FOLDER).iterdir()) == sorted(NAMES)


def test_what_is_no_archive_is_refused(put_archive, monkeypatch):
    folder = put_archive()
    (folder / PACKED).write_bytes(b"no archive")
    damaged = replace(cifar.ARCHIVES["cifar10"], md5=hashlib.md5(b"no archive").hexdigest())
    monkeypatch.setitem(cifar.ARCHIVES, "cifar10", damaged)
    with pytest.raises(ValueError, match="no gzipped tar archive"):
        ready(folder)
    assert not (folder / FOLDER).exists()


@pytest.mark.parametrize("damage", ["truncated", "missing", "label"])
def test_damaged_files_are_named(put_archive, damage):
    folder = put_archive()
    path = ready(folder) / "data_batch_3.bin"
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-1] if damage == "truncated" else b"\x0b" + content[1:])
    with pytest.raises(ValueError, match=r"data_batch_3.bin .*unpack"):
        read(folder, "train")


def test_missing_cifar_10_is_for_prepare_to_report(tmp_path):
    workload = {
        "data": {"name": "cifar10", "folder": str(tmp_path)},
        "model": {"name": "vgg16", "cut": "pool2"},
    }
    check(config(**workload), ONE)
    with pytest.raises(ValueError, match="CIFAR-10 is not in"):
        prepare(config(**workload), ONE)


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


def test_an_augmented_image_is_moved_and_perhaps_mirrored_and_nothing_else():
    image = np.arange(1, 28, dtype=np.float32).reshape(3, 3, 3)
    padded = np.pad(image, ((0, 0), (4, 4), (4, 4)))
    crops = [padded[:, y : y + 3, x : x + 3] for y in range(9) for x in range(9)]
    possible = {crop.tobytes() for crop in crops} | {crop[:, :, ::-1].tobytes() for crop in crops}
    found = augmented(np.repeat(image[None], 2000, axis=0), np.random.default_rng(0))
    assert found.shape == (2000, 3, 3, 3)
    assert {one.tobytes() for one in found} == possible


def test_clients_augment_by_generators_of_their_own():
    one, same, other = (
        augmented(np.random.default_rng(0).random((4, 3, 8, 8)).astype(np.float32), generator(1, "augmentation", k))
        for k in (0, 0, 1)
    )
    assert (one == same).all()
    assert not (one == other).all()


@pytest.mark.parametrize("side", [8, 13, 56])
def test_images_are_enlarged_as_pytorch_does(side):
    import torch

    images = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(images), side, mode="bilinear", antialias=False)
    assert resized(images, side) == pytest.approx(expected.numpy(), abs=1e-5)
