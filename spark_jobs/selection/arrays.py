"""The one array type of the kernels; shapes stand in the docstrings."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
