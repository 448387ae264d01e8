"""Orthoscope: measure, explain and remove the distortions of classifier-free guidance.

Public names are listed in `__init__.pyi` and loaded on first use, so that importing the package, or asking the theory,
does not load torch.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
