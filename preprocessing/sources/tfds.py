"""Data sets of TensorFlow Datasets as sources of images.

Their location is tfds:NAME[/config][:split], such as tfds:cifar10 or tfds:stl10:unlabelled+train. A
builder is tfds' object that describes, downloads and reads a data set. An example is one entry of a
data set: a dict with an image under one key and perhaps a label under another.

Every data set with images, with or without classes, can be used. Images are read as encoded files
and decoded like photos.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pggan_tf.data.decode import Unreadable
from pggan_tf.errors import UserError, nearest
from preprocessing import storage
from preprocessing.sources import Item, Source

OPTIONS = ("data_dir", "download")
_REACH_SECONDS = 10


def _open_builder(name: str, data_dir: str | None):
    """Return tfds' builder of a data set.

    Args:
        name: NAME[/config], such as 'cifar10'.
        data_dir: folder of prepared data sets; None for the usual one of tfds.

    Raises:
        UserError: if the data set does not exist or cannot be set up.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import gcs_utils

    # Otherwise every access to a data set would first ask a storage service, and wait for it if
    # there is no network.
    gcs_utils._is_gcs_disabled = True
    base = name.partition("/")[0].partition(":")[0]
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        raise UserError(f"tfds:{name}: no such data set; {nearest(base, known)}")
    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        # This may be an unknown config or version, or a data set that needs another package.
        raise UserError(f"tfds:{name}: cannot be set up ({str(error).splitlines()[0][:200]}).") from None


def _list_hosts(builder) -> list[str]:
    """Return a list with one URL for each host that the data set is downloaded from."""
    from urllib.parse import urlsplit

    return list({urlsplit(url).netloc: url for url in builder.url_infos or {}}.values())


def _fetch(builder, name: str) -> None:
    """Download and prepare a data set with its builder.

    Raise UserError if that fails; if a host cannot be reached, this takes only seconds.

    Args:
        builder: builder of the data set.
        name: name of the data set, for messages.
    """
    import requests

    advice = "Prepare it on a machine with a network and give its folder with --data-dir, or give the images as a folder or an archive."
    for url in _list_hosts(builder):
        try:
            requests.head(url, timeout=_REACH_SECONDS, allow_redirects=False).close()
        except requests.RequestException as error:
            raise UserError(f"tfds:{name}: {url} cannot be reached ({type(error).__name__}). {advice}") from None
    try:
        builder.download_and_prepare()
    except Exception as error:  # tfds raises any error of the network, the archive or the disk
        raise UserError(f"tfds:{name}: could not be fetched ({str(error).splitlines()[0][:200]}). {advice}") from None


@dataclass(frozen=True)
class TensorFlowDataset(Source):
    """Images in a split of a data set, such as its training images."""

    name: str  # location without the split, such as tfds:cifar10
    data_dir: str | None  # folder of prepared data sets; None for the usual one of tfds
    split: str  # name of a split, or names joined by +
    count: int  # number of images in the split
    image: str  # key of the image in an example
    label: str | None  # key of the label in an example; None without classes
    classes: tuple[str, ...]
    version: str
    numbers: tuple[int, ...] | None = None  # indices of the selected images; None for all

    def __len__(self):
        return self.count if self.numbers is None else len(self.numbers)

    def _read_examples(self, first: int, last: int):
        """Read the examples with the numbers `first` to `last` - 1, in the order of the split.

        Yields:
            (number, example). An example is a dict with the encoded image under the key
            `self.image` and, if the data set has one, the label under the key `self.label`.
        """
        import tensorflow_datasets as tfds

        builder = _open_builder(self.name.removeprefix("tfds:"), self.data_dir)
        dataset = builder.as_dataset(
            split=self.split,
            shuffle_files=False,
            decoders={self.image: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        keys = (self.image, self.label)
        dataset = dataset.skip(first).take(last - first)
        dataset = dataset.map(lambda example: {k: example[k] for k in keys if k in example})
        yield from enumerate(dataset.as_numpy_iterator(), first)

    def is_labelled(self) -> bool:
        """Return whether the images have classes.

        Only the first image of each split is read: if it has no class, as in stl10's `unlabelled`,
        no image of the split has.
        """
        first = [dataclasses.replace(self, split=part.strip())._read_examples(0, 1) for part in self.split.split("+")]
        return all(int(example[self.label]) >= 0 for examples in first for _, example in examples)

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the images with the numbers `start` to `stop` - 1, in order, as items (`Item`)."""
        numbers = (range(self.count) if self.numbers is None else self.numbers)[start:stop]
        if not numbers:
            return
        chosen = set(numbers)
        for i, example in self._read_examples(numbers[0], numbers[-1] + 1):
            if i in chosen:
                data = example[self.image]
                data = data if isinstance(data, bytes | np.ndarray) else bytes(data)
                label = int(example[self.label]) if self.label else 0
                yield Item(
                    f"{self.split}/{i}",
                    data if label >= 0 else Unreadable("has no class", "without a class"),
                    max(label, 0),
                )

    def fingerprint(self) -> str:
        """Return a hash of the data set's name, version, split and number of images."""
        return storage.digest([(self.name, self.version, self.split, self.count)])

    def select(self, labels: Sequence[int]) -> TensorFlowDataset:
        """Return the same source with only the images whose label is in `labels`."""
        numbers = (i for i, example in self._read_examples(0, self.count) if int(example[self.label]) in labels)
        return dataclasses.replace(self, numbers=tuple(numbers))


def open(location: str, data_dir: str | None = None, download: bool = False) -> TensorFlowDataset:
    """Open a data set and return it as a source.

    Args:
        location: tfds:NAME[/config][:split]; without a split, 'train' is used.
        data_dir: folder of prepared data sets; None for the usual one of tfds.
        download: download the data set if it is not prepared.

    Raises:
        UserError: if the data set is not prepared and not downloaded, or has no images.
    """
    name, _, split = location.removeprefix("tfds:").partition(":")
    builder = _open_builder(name, data_dir)
    if not builder.info.splits:
        if not download:
            raise UserError(
                f"{location}: not prepared in {builder.data_dir}. Let `pggan prepare {location} OUT --download` fetch it, or say in "
                "TFDS_DATA_DIR, or for that command in --data-dir, which folder holds it."
            )
        _fetch(builder, name)
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    if not images:
        raise UserError(f"{location}: has no images (its features: {', '.join(features)}).")
    label = next((key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)), None)
    split = split or "train"
    try:
        count = builder.info.splits[split].num_examples
    except Exception:  # tfds raises several kinds for a split that it cannot parse
        raise UserError(f"{location}: no split '{split}'; {nearest(split, list(builder.info.splits))}") from None
    opened = TensorFlowDataset(
        f"tfds:{name}",
        data_dir,
        split,
        count,
        "image" if "image" in images else images[0],
        label,
        tuple(features[label].names) if label else (),
        str(builder.version),
    )
    if label and not opened.is_labelled():
        opened = dataclasses.replace(opened, label=None, classes=())
    return opened
