"""Predictions without sampling: what guidance does to a class, in closed form or by quadrature.

The front door is `predict(Setting(...))` for one setting, `rate_strength_diagram` and `window_diagram` for
whole planes, and `guided_gaussian` for two Gaussians. Nothing here draws a random number or knows of the code
that does. The names are listed in `__init__.pyi` and loaded on first use, so that each theory costs only itself.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
