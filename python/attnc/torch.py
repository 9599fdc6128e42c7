"""What of attnc is made for torch: importing it defines the operators of torch.ops.attnc."""
from . import _operators  # noqa: F401
