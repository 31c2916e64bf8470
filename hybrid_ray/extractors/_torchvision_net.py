"""torchvision's classification networks as feature extractors: cut before the classifier, fused, padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors.imaging import Interpolation
from hybrid_ray.registry import nearest

if TYPE_CHECKING:
    import torch
    from torch import nn

_CLASSES = 1000


@cache
def model_names() -> list[str]:
    """Every classification model of torchvision."""
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def require_model(model: str) -> None:
    """Refuse a name that is no model.

    Raises
    ------
    BadInputError
        The message names the nearest.
    """
    if model not in model_names():
        raise BadInputError(
            f"must be a classification model of torchvision; got {model!r}.{nearest(model, model_names())}"
        )


@dataclass(frozen=True)
class View:
    """How a network's weights want their images.

    Attributes
    ----------
    resize, crop : int
        The shorter side is brought to ``resize``, the centre ``crop`` x ``crop`` is kept.
    interpolation : str
    mean, std : tuple of float
        Of each channel, for pixels in [0, 1].
    """

    resize: int
    crop: int
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, model: str, member: str = "DEFAULT") -> View:
        """The preprocessing that comes with a model's weights."""
        from torchvision.models import get_model_weights

        preset = get_model_weights(model)[member].transforms()
        return cls(
            resize=int(preset.resize_size[0]),
            crop=int(preset.crop_size[0]),
            interpolation=preset.interpolation.value,
            mean=tuple(preset.mean),
            std=tuple(preset.std),
        )

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> View:
        """The view that ``to_json`` described."""
        return cls(
            resize=form["resize"],
            crop=form["crop"],
            interpolation=form["interpolation"],
            mean=tuple(form["mean"]),
            std=tuple(form["std"]),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able form."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


def build(model: str, *, empty: bool) -> tuple[nn.Module, str, int]:
    """A network without its last layer.

    The layer that gives the classes becomes an identity, so that the network answers what that layer would have seen:
    the pooled penultimate features, in every family.

    Parameters
    ----------
    model : str
    empty : bool
        True: parameters have shapes but no memory yet (where the model can be built so), to be assigned.

    Returns
    -------
    net : Module
    head : str
        Name of the removed layer.
    n_features : int
    """
    import torch
    from torch import nn
    from torchvision.models import get_model

    options = {"init_weights": not empty} if model in ("googlenet", "inception_v3") else {}
    try:
        with torch.device("meta" if empty else "cpu"):
            net = get_model(model, weights=None, **options)
    except NotImplementedError:  # a RegNet computes with tensors while it is built
        net = get_model(model, weights=None, **options)
    layers = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    head, layer = [(n, m) for n, m in layers if _width(m) == _CLASSES][-1]
    net.set_submodule(head, nn.Identity())
    return net.eval(), f"{head}.", layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _width(layer: nn.Module) -> int:
    return int(getattr(layer, "out_features", 0) or getattr(layer, "out_channels", 0))


@cache
def body_shapes(model: str) -> tuple[dict[str, tuple[int, ...]], str]:
    """Shapes of a network's state dict without its last layer, and the prefix of that layer's keys."""
    net, head, _ = build(model, empty=True)
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}, head


@cache
def n_features(model: str) -> int:
    """Width of a network's last hidden layer."""
    return build(model, empty=True)[2]


def load(model: str, tensors: Mapping[str, torch.Tensor]) -> tuple[nn.Module, int]:
    """A network in fp32 with the weights of a state dict that fits it, and its number of features."""
    import torch

    net, _, width = build(model, empty=True)
    expected = net.state_dict()
    kept = {name: tensors[name] if name in tensors else torch.zeros((), dtype=torch.long) for name in expected}
    net.load_state_dict(kept, assign=True)
    _as_pretrained(net)
    return net.float().requires_grad_(False), width


def random(model: str, seed: int, pretrained: bool = False) -> tuple[nn.Module, int]:
    """A network with seeded random weights, and its number of features; ``pretrained``: built as for real weights."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, _, width = build(model, empty=False)
    if pretrained:
        _as_pretrained(net)
    return net.requires_grad_(False), width


def _as_pretrained(net: nn.Module) -> None:
    if hasattr(net, "transform_input"):
        setattr(net, "transform_input", True)  # noqa: B010 - torchvision's GoogLeNet and Inception weights want it


def check_layers(model: str, layers: Sequence[str]) -> None:
    """Refuse layers that a model does not have, or does not go through.

    Raises
    ------
    BadInputError
        The message names the nearest.
    """
    if layers:
        tapped(build(model, empty=True)[0], model, layers)


def tapped(net: nn.Module, model: str, layers: Sequence[str]) -> nn.Module:
    """The network that answers a mapping: what its layers give, by name, and at the end what it gave before.

    Raises
    ------
    BadInputError
        A layer is no module of the network, it does not go through it for an answer, or it cannot be traced.
    """
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    known = [name for name, _ in net.named_modules() if name]
    for i, layer in enumerate(layers):
        if layer not in known:
            raise BadInputError(
                f"torchvision.layers[{i}]: must be a module of {model}; got {layer!r}.{nearest(layer, known)}"
            )
    try:
        last = get_graph_node_names(net)[1][-1]
        return create_feature_extractor(net, [*layers, last]).eval()
    except (ValueError, TypeError) as error:
        raise BadInputError(
            f"torchvision.layers: must be modules whose output {model} goes on with; got {list(layers)} ({error})"
        ) from error


def pooled(output: torch.Tensor | Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What a network gives for k images as vectors (k, d): the mean over the places of an image, of each channel.

    Maps are (k, channels, side, side), or (k, side, side, channels) as those of Swin; tokens (k, tokens, channels).
    """
    import torch

    if not isinstance(output, torch.Tensor):
        return torch.cat([pooled(each) for each in output.values()], dim=1)
    if output.ndim == 4:
        channels_last = output.shape[1] == output.shape[2] != output.shape[3]
        return output.mean(dim=(1, 2) if channels_last else (2, 3))
    return output.mean(dim=1) if output.ndim == 3 else output.flatten(1)


def fuse_batch_norm(net: nn.Module) -> nn.Module:
    """The same network with every batch norm that follows a convolution folded into it: fewer passes over memory.

    Only where the traced graph shows that nothing else reads the convolution; a network that cannot be traced is
    returned as it is.
    """
    from torch import fx, nn
    from torch.fx.proxy import TraceError
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    if not any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
        return net
    try:
        traced = fx.symbolic_trace(net)
    except TraceError:
        return net
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        source = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d):
            continue
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        conv = modules[str(source.target)]
        if isinstance(conv, nn.Conv2d):
            traced.set_submodule(str(source.target), fuse_conv_bn_eval(conv, modules[node.target]))
            node.replace_all_uses_with(source)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def pad_same(net: nn.Module) -> nn.Module:
    """The network with TensorFlow's SAME padding in its strided convolutions, in place.

    SAME adds ``max((ceil(n / stride) - 1) * stride + kernel - n, 0)`` rows in all, the odd one at the bottom or right;
    torch adds the same number on both sides. With stride 1 and odd kernels the two agree.
    """
    from torch import nn
    from torch.nn import functional as F

    class SamePad(nn.Module):
        """A convolution behind its padding."""

        def __init__(self, conv: nn.Conv2d) -> None:
            super().__init__()
            self.conv = conv
            self.kernel, self.stride = conv.kernel_size, conv.stride
            conv.padding = (0, 0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            (kernel_h, kernel_w), (stride_h, stride_w) = self.kernel, self.stride
            rows = max((-(-x.shape[2] // stride_h) - 1) * stride_h + kernel_h - x.shape[2], 0)
            columns = max((-(-x.shape[3] // stride_w) - 1) * stride_w + kernel_w - x.shape[3], 0)
            pads = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
            padded: torch.Tensor = self.conv(F.pad(x, pads))
            return padded

    for name, module in list(net.named_modules()):
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1 and module.padding not in ((0, 0), "valid"):
            net.set_submodule(name, SamePad(module))
    return net
