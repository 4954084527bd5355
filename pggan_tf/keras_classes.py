"""Make Keras find the classes of this package in `.keras` files, without importing them at once.

Keras only loads classes that were registered. To register ours, their modules have to be imported,
and TensorFlow with them, for which `import pggan_tf` must not wait. Instead, a stand-in for each
network is registered as soon as Keras is imported; it imports the network when a file needs it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys

# Registered name of each network -> (its module in pggan_tf.networks, its class there).
CLASSES = {
    "Generator": ("progressive", "Generator"),
    "Discriminator": ("progressive", "Discriminator"),
    "DCGANGenerator": ("dcgan", "Generator"),
    "DCGANDiscriminator": ("dcgan", "Discriminator"),
    "UNet": ("unet", "Generator"),
    "PatchGAN": ("patchgan", "Discriminator"),
    "Recolor": ("recolor", "Generator"),
    "SRResNet": ("srresnet", "Generator"),
    "SRGANDiscriminator": ("srgan", "Discriminator"),
}


def _make_stand_in(name: str) -> type:
    """Return a class that stands for the network registered as `name` until it is needed."""

    class StandIn:
        @classmethod
        def from_config(cls, config: dict):
            """Return the network that a `.keras` file describes."""
            module, kind = CLASSES[name]
            return getattr(importlib.import_module(f".networks.{module}", __package__), kind).from_config(config)

    StandIn.__name__ = name
    return StandIn


def _register() -> None:
    """Register a stand-in for each network that is not registered yet."""
    objects = sys.modules["keras"].saving.get_custom_objects()
    for name in CLASSES:
        objects.setdefault(f"pggan_tf>{name}", _make_stand_in(name))


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Import hook that registers the stand-ins when Keras has been imported."""

    def find_spec(self, name, path, target=None):
        """Return a spec of Keras with a `_Loader`; None for all other modules."""
        if name != "keras":
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec


class _Loader(importlib.abc.Loader):
    """Loader of Keras that registers the stand-ins afterwards.

    Args:
        loader: Keras's own loader.
        hook: the import hook, which is removed.
    """

    def __init__(self, loader, hook: _AfterKeras):
        self.loader, self.hook = loader, hook

    def create_module(self, spec):
        """Create the module as its own loader does."""
        return self.loader.create_module(spec)

    def exec_module(self, module):
        """Import Keras with its own loader, then register the stand-ins."""
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        sys.meta_path.remove(self.hook)  # only now: the import may fail, and be tried again
        _register()


def register_with_keras() -> None:
    """Register the stand-ins now if Keras is imported already, else when it will be."""
    if hasattr(sys.modules.get("keras"), "saving"):
        _register()
    elif not any(isinstance(finder, _AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras())
