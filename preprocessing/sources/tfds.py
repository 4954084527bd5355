"""A data set of TensorFlow Datasets: `tfds:NAME[/config][:split]`, such as tfds:cifar10 or tfds:stl10:unlabelled+train.

Any that has an image, and perhaps a class. Images are taken as the files that they are stored as, and decoded like photos.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pggan_tf.data.decode import Unreadable
from pggan_tf.errors import UserError, nearest
from preprocessing import storage
from preprocessing.sources import Item, Source

OPTIONS = ("data_dir", "download")
_REACH_SECONDS = 10


def _builder(name: str, data_dir: str | None):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import gcs_utils

    # Without this, every look at a data set asks a storage service first, and without a network waits for it.
    gcs_utils._is_gcs_disabled = True
    base = name.partition("/")[0].partition(":")[0]
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        raise UserError(f"tfds:{name}: no such data set; {nearest(base, known)}")
    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # a config or version that does not exist, a data set that needs another package
        raise UserError(f"tfds:{name}: cannot be set up ({str(error).splitlines()[0][:200]}).") from None


def _hosts_of(builder) -> list[str]:
    """One address for every host that the data set is fetched from."""
    from urllib.parse import urlsplit

    return list({urlsplit(url).netloc: url for url in builder.url_infos or {}}.values())


def _fetch(builder, name: str) -> None:
    """Downloads and prepares the data set; fails within seconds where a host cannot be reached."""
    import requests

    advice = "Prepare it on a machine with a network and give its folder with --data-dir, or give the images as a folder or an archive."
    for url in _hosts_of(builder):
        try:
            requests.head(url, timeout=_REACH_SECONDS, allow_redirects=False).close()
        except requests.RequestException as error:
            raise UserError(f"tfds:{name}: {url} cannot be reached ({type(error).__name__}). {advice}") from None
    try:
        builder.download_and_prepare()
    except Exception as error:  # tfds raises what the network, the archive or the disk do
        raise UserError(f"tfds:{name}: could not be fetched ({str(error).splitlines()[0][:200]}). {advice}") from None


@dataclass(frozen=True)
class TensorFlowDataset(Source):
    name: str  # with tfds: before it
    data_dir: str | None
    split: str
    count: int
    image: str  # keys of the features
    label: str | None
    classes: tuple[str, ...]
    version: str
    numbers: tuple[int, ...] | None = None  # of those selected, or all

    def __len__(self):
        return self.count if self.numbers is None else len(self.numbers)

    def _examples(self, first: int, last: int):
        """(number, example) for first .. last - 1, in the order in which they are stored."""
        import tensorflow_datasets as tfds

        builder = _builder(self.name.removeprefix("tfds:"), self.data_dir)
        dataset = builder.as_dataset(
            split=self.split,
            shuffle_files=False,
            decoders={self.image: tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        wanted = (self.image, self.label)
        dataset = dataset.skip(first).take(last - first)
        dataset = dataset.map(lambda example: {k: example[k] for k in wanted if k in example})
        yield from enumerate(dataset.as_numpy_iterator(), first)

    def labelled(self) -> bool:
        """Whether the first image of each split has a class: where one has none, as in stl10's `unlabelled`, all go without."""
        first = [dataclasses.replace(self, split=part.strip())._examples(0, 1) for part in self.split.split("+")]
        return all(int(example[self.label]) >= 0 for examples in first for _, example in examples)

    def items(self, start, stop):
        numbers = (range(self.count) if self.numbers is None else self.numbers)[start:stop]
        if not numbers:
            return
        wanted = set(numbers)
        for i, example in self._examples(numbers[0], numbers[-1] + 1):
            if i in wanted:
                data = example[self.image]
                data = data if isinstance(data, bytes | np.ndarray) else bytes(data)
                label = int(example[self.label]) if self.label else 0
                yield Item(
                    f"{self.split}/{i}",
                    data if label >= 0 else Unreadable("has no class", "without a class"),
                    max(label, 0),
                )

    def fingerprint(self):
        return storage.digest([(self.name, self.version, self.split, self.count)])

    def select(self, labels):
        numbers = (i for i, example in self._examples(0, self.count) if int(example[self.label]) in labels)
        return dataclasses.replace(self, numbers=tuple(numbers))


def open(location: str, data_dir: str | None = None, download: bool = False) -> TensorFlowDataset:
    name, _, split = location.removeprefix("tfds:").partition(":")
    builder = _builder(name, data_dir)
    if not builder.info.splits:
        if not download:
            raise UserError(
                f"{location}: not prepared in {builder.data_dir}. Give --download to fetch it, or --data-dir with the folder that holds it."
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
    except Exception:  # tfds has several for a split that it cannot parse
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
    if label and not opened.labelled():
        opened = dataclasses.replace(opened, label=None, classes=())
    return opened
