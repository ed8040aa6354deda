"""Data sets for training: by name, as folders of images, or as shards of them."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs
import torch

from profiling.errors import InputError
from profiling.files import written_whole
from search.images.division import divide
from search.images.framing import Framing
from search.images.names import Part
from search.images.one_image import Augment, Form, ImageDataset, ImageFiles, ImageForm, SmallImages
from search.images.options import AS_THEY_COME, MOVES, ImageOptions, Moves
from search.images.prepared import find_images, prepare
from search.images.survey import Progress
from search.images.vision import datasets

# Height and width in pixels, and channels, of the images that are known by name.
NAMED = {"digits": ImageForm(8, 1), "fashion-mnist": ImageForm(28, 1), "cifar10": ImageForm(32, 3)}
DOWNLOADED = {"fashion-mnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10}
# Where Debian's package dataset-fashion-mnist puts the files that torchvision otherwise downloads.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True)
class Data:
    """Training and held-out images in the form of a space, how many there are, and the names of the classes.

    Attributes:
        framing: of photos; small images are square.
        train_counts, held_out_counts: the images of each class; empty where they were not counted.
        class_keys: the classes as folders or shards name them, where that is not as `classes` does.
        moves: how training images are moved.
        left_out: images that cannot be read and are left out, by name.
        notes: what is to be said before they are used, a line each.
    """

    train: ImageDataset
    train_images: int
    held_out: ImageDataset
    held_out_images: int
    classes: tuple[str, ...]
    framing: Framing = "crop"
    train_counts: tuple[int, ...] = ()
    held_out_counts: tuple[int, ...] = ()
    class_keys: tuple[str, ...] = ()
    moves: Moves = "shift"
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def centre_crop(self) -> float:
        """Side of the central square crop of a held-out image, as a fraction of its shorter side; 1 without a crop."""
        return self.held_out.centre_crop

    @property
    def framings_differ(self) -> bool:
        """Whether a framing makes a difference: not to small images, which are square and taken whole."""
        return self.held_out.framed("stretch") is not self.held_out

    def spread_over_held_out(self, most: int) -> list[int]:
        """The numbers of at most so many held-out images, evenly from all, as the classes follow one another."""
        count = min(most, self.held_out_images)
        return [index * self.held_out_images // count for index in range(count)]

    def framed(self, framing: Framing) -> Data:
        """The same images in a framing."""
        return replace(self, framing=framing, train=self.train.framed(framing), held_out=self.held_out.framed(framing))


def load_data(
    name_or_folder: str,
    form: Form,
    seed: int,
    augment: Augment | None = None,
    options: ImageOptions = AS_THEY_COME,
    progress: Progress | None = None,
) -> Data:
    """The images of a named data set, or of a folder.

    A folder holds one folder of images per class; or parts that do, as `train` and `val` of ImageNet. Or it holds shards in
    WebDataset's layout, or is a pattern of such, `train-{000..099}.tar`. Parts go by any of their usual names, in any case
    (`search.images.names`). A validation part alone is held out; without one the test part is, and without any part one image in
    five, by the seed.

    Args:
        name_or_folder: as above.
        form: resolution and channels of the images.
        seed: of the split and of everything random in training images.
        augment: changes training images further, once they are moved.
        options: how they are moved, which are held out, and what happens to those that cannot be read.
        progress: follows the first look at image files.

    Raises:
        InputError: neither name nor folder, no classes, an empty class, images that cannot be read, or different classes in
            the parts.
    """
    if options.moves not in (None, *MOVES):
        raise InputError(f"training images are moved in one of the ways {', '.join(MOVES)}", where=str(options.moves))
    if name_or_folder == "digits":
        return _digits(form, seed, augment, options)
    if name_or_folder in DOWNLOADED:
        return _downloaded(name_or_folder, form, seed, augment, options)
    images = find_images(name_or_folder)
    if images is None:
        raise no_such_data(name_or_folder)
    made = prepare(images, name_or_folder, seed, options, progress)
    return Data(
        ImageFiles(made.train, form, seed, augment, moves=made.moves, tops=made.tops),
        len(made.train),
        ImageFiles(made.held_out, form, None, tops=made.tops),
        len(made.held_out),
        made.classes,
        train_counts=_counts([label for _, label in made.train], len(made.classes)),
        held_out_counts=_counts([label for _, label in made.held_out], len(made.classes)),
        class_keys=made.keys,
        moves=made.moves,
        left_out=made.left_out,
        notes=made.notes,
    )


def no_such_data(name: str) -> InputError:
    """The error that there is nothing of this name."""
    return InputError(f"neither a data set ({', '.join(NAMED)}) nor a folder of images, nor shards of them (.tar)", where=name)


def in_memory(name: str) -> bool:
    """Whether this is a named data set of small images, which are all in memory, rather than a folder or shards."""
    return name in NAMED


def _digits(form: Form, seed: int, augment: Augment | None, options: ImageOptions) -> Data:
    """scikit-learn's 1,797 handwritten digits of 8×8 pixels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images * (255 / 16)).to(torch.uint8)[:, None]  # 0 to 16 in the file
    labels = digits.target.tolist()
    classes = tuple(str(name) for name in digits.target_names)
    parts: dict[Part | None, list[tuple[int, int]]] = {None: list(zip(range(len(labels)), labels, strict=True))}
    train, held_out = divide((None,), options.split, "digits").apply(parts, seed, classes, "digits")
    pixels = [images[[index for index, _ in part]] for part in (train, held_out)]
    return _small(pixels, [[label for _, label in part] for part in (train, held_out)], classes, form, seed, augment, options)


def _small(
    images: Sequence[torch.Tensor],
    labels: Sequence[Sequence[int]],
    classes: tuple[str, ...],
    form: Form,
    seed: int,
    augment: Augment | None,
    options: ImageOptions,
) -> Data:
    """Images in memory, for training and held out."""
    moves = options.moves or "shift"
    return Data(
        SmallImages(images[0], labels[0], form, seed, augment, moves),
        len(labels[0]),
        SmallImages(images[1], labels[1], form, None),
        len(labels[1]),
        classes,
        train_counts=_counts(labels[0], len(classes)),
        held_out_counts=_counts(labels[1], len(classes)),
        moves=moves,
    )


def data_folder() -> Path:
    """The folder for downloaded and unpacked data sets."""
    return Path(platformdirs.user_cache_dir("spnas")) / "data"


def _downloaded(name: str, form: Form, seed: int, augment: Augment | None, options: ImageOptions) -> Data:
    divide(("train", "test"), options.split, name)  # the test part is held out
    root, kind = data_folder(), DOWNLOADED[name]
    try:
        if name == "fashion-mnist" and DEBIAN_FASHION_MNIST.is_dir():
            raw = root / kind.__name__ / "raw"
            raw.mkdir(parents=True, exist_ok=True)
            # Unpacked, as torchvision leaves them: it checks the packed files by sums that those of Debian do not have.
            for packed in DEBIAN_FASHION_MNIST.glob("*.gz"):
                unpacked = raw / packed.stem
                if not unpacked.exists():
                    with gzip.open(packed) as source, written_whole(unpacked) as new, new.open("wb") as target:
                        shutil.copyfileobj(source, target)
        train, held_out = (kind(str(root), train=training, download=True) for training in (True, False))
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"cannot be downloaded: {reason}", where=name, hint=f"put its files into {root}") from error
    images = [torch.as_tensor(part.data) for part in (train, held_out)]
    # Grey images come without channels, coloured ones with them at the end.
    images = [part[:, None] if part.dim() == 3 else part.permute(0, 3, 1, 2) for part in images]
    labels = [torch.as_tensor(part.targets).tolist() for part in (train, held_out)]
    return _small(images, labels, tuple(train.classes), form, seed, augment, options)


def _counts(labels: Sequence[int], classes: int) -> tuple[int, ...]:
    """The images of each class."""
    counts = Counter(labels)
    return tuple(counts[label] for label in range(classes))
