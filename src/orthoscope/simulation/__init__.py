"""One run of a law: exact guided sampling of its classes, draw by draw, and estimators that make more of each draw."""
