r"""How well images keep to their prompts: how far apart prompts are, and how far guidance moved them.

With $m_g$ the mean of prompt $g$, $\bar m$ that of all prompts and $C_g$ the covariance within:

- `fisher_ratio` $\mathrm{tr}\,B/\overline{\mathrm{tr}\,C_g}$, $B$ the covariance of the $m_g$ freed of noise;
- `lda_accuracy`: share of unseen images that a linear discriminant gives to their own prompt;
- `mean_shift_from` a run without guidance, along $m_g - \bar m$ in units of it, like the theory's mean shift;
- `displacement_from` it, $|m_g^{(w)} - m_g^{(0)}|^2$ in units of the variance within;
- `class_posterior` and `text_similarity`, where a classifier or text features are at hand.

More adherence is not better adherence: all but the last two grow when images collapse on their prompt's mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthoscope.errors import ConfigError, ShapeError
from orthoscope.metrics.contributions import Contributions, as_features, rows_of
from orthoscope.metrics.diversity import variance_within
from orthoscope.metrics.shrinkage import Shrunk

_COMPONENTS = 64
_FEWEST = 4  # images per prompt, of which two train in either of two folds


def fisher_ratio(features: ArrayLike, groups: ArrayLike) -> Contributions:
    r"""Variance of the prompts' means over the variance within prompts, traces of both; 0 without any separation.

    Accuracy:
        Numerator and denominator are unbiased; the bias of their ratio is O(1/prompts).

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if there are fewer than two prompts, one with a single image, or nothing varies.
    Source:
        One-way analysis of variance with random groups; derived in explanation/metrics.
    """
    x, labels = as_features(features, groups)
    strata = rows_of(labels)
    prompts = _several(len(strata))
    means = np.array([x[rows].mean(0, dtype=np.float64) for rows in strata])
    far = means - means.mean(0)
    between, within = np.empty(len(x)), np.empty(len(x))
    for rows, gap in zip(strata, far, strict=True):
        n = len(rows)
        centred = x[rows] - x[rows].mean(0, dtype=np.float64)
        within[rows] = n / (n - 1) * (centred**2).sum(1)
        between[rows] = prompts / (prompts - 1) * (gap @ gap + 2 * centred @ gap) - within[rows] / n
    resolved = min(map(len, strata)) > 2
    top = Contributions(values=between, groups=labels, resolved=resolved)
    return top.per(Contributions(values=within, groups=labels, resolved=resolved))


def lda_accuracy(
    features: ArrayLike, groups: ArrayLike, *, folds: int = 5, components: int = _COMPONENTS
) -> Contributions:
    """Share of images that a linear discriminant trained on the others gives to their own prompt, mean over prompts.

    Each fold holds every `folds`-th image of each prompt. Longer features are first cut to their leading principal
    components, found in the training images without their labels; the covariance is shrunk by Ledoit and Wolf's rule.

    Args:
        features: One image per row.
        groups: The prompt of every row.
        folds: Number of folds; at most the fewest images of a prompt.
        components: Principal components kept.

    Accuracy:
        That of a discriminant trained on the share (folds - 1)/folds of the images, so on the low side. The error
        treats the trained discriminants as given.

    Raises:
        ShapeError: if features are not a matrix with one group for each row.
        ConfigError: if there are fewer than two prompts, or folds or components do not fit.
    Source:
        scikit-learn's discriminant with the shrinkage of [ledoit2004well]; derived in explanation/metrics.
    """
    if folds < 2 or components < 1:
        raise ConfigError(f"expected at least 2 folds and 1 component, got {folds} and {components}")
    x, labels = as_features(features, groups, least=max(folds, _FEWEST))
    strata = rows_of(labels)
    _several(len(strata))
    target, fold = np.empty(len(x), dtype=np.intp), np.empty(len(x), dtype=np.intp)
    for number, rows in enumerate(strata):
        target[rows], fold[rows] = number, np.arange(len(rows)) % folds
    right = np.empty(len(x))
    for held in range(folds):
        test = fold == held
        right[test] = _told(x[~test], target[~test], x[test], components) == target[test]
    return Contributions(values=right, groups=labels, bounds=(0.0, 1.0), grain=1 / len(x))


def class_posterior(probabilities: ArrayLike, labels: ArrayLike) -> Contributions:
    """Probability that a classifier gives an image's own class, mean over classes.

    Most are near 0 or 1, so that the interval is that of a share: it allows for images of another class that did not
    happen to come.

    Args:
        probabilities: One image per row, one class per column.
        labels: The own class of every image, as the number of its column.

    Raises:
        ShapeError: if probabilities are not a matrix with one label for each row.
        ConfigError: if rows do not add up to 1, or a label has no column.
    """
    p, own = as_features(probabilities, labels, least=1)
    if p.min() < 0 or not np.allclose(p.sum(1), 1, atol=1e-3):
        raise ConfigError("expected probabilities, rows >= 0 that add up to 1; apply a softmax to logits first")
    if not np.issubdtype(own.dtype, np.integer) or own.min() < 0 or own.max() >= p.shape[1]:
        raise ConfigError(
            f"expected labels that number the {p.shape[1]} columns from 0, got {own.min()} to {own.max()}"
        )
    values = p[np.arange(len(p)), own].astype(np.float64)
    return Contributions(values=values, groups=own, bounds=(0.0, 1.0), grain=1 / len(p))


def text_similarity(images: ArrayLike, texts: ArrayLike, groups: ArrayLike) -> Contributions:
    """Cosine of image features with those of their text, mean over prompts; in [-1, 1].

    The CLIP score is 2.5 times its positive part.

    Args:
        images: One image per row.
        texts: The text features of every row's prompt, of the same model.
        groups: The prompt of every row.

    Raises:
        ShapeError: if images and texts do not match.
        ConfigError: if a row is not finite, or is zero.
    Source:
        [hessel2021clipscore].
    """
    x, labels = as_features(images, groups, least=1)
    t, _ = as_features(texts, groups, least=1)
    if x.shape != t.shape:
        raise ShapeError(f"expected text features for every image, got shapes {x.shape} and {t.shape}")
    x, t = x.astype(np.float64), t.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(t, axis=1)
    if not (lengths > 0).all():
        raise ConfigError("an image or a text has only zeros as features and no direction; leave it out")
    return Contributions(values=(x * t).sum(1) / lengths, groups=labels, bounds=(-1.0, 1.0))


def mean_shift_from(features: ArrayLike, reference: ArrayLike, groups: ArrayLike) -> Contributions:
    r"""Shift of the prompts' means away from the mean of all prompts, in units of their distance from it.

    $$ \delta\mu = \frac{\sum_g (m_g^{(w)} - m_g^{(0)})\cdot(m_g^{(0)} - \bar m^{(0)})}
                        {\sum_g |m_g^{(0)} - \bar m^{(0)}|^2} $$

    Shifts and directions in each product come from different halves of the images, so that the noise of the means
    cancels: without that, two independent runs of the same law would show a negative shift.

    Args:
        features: One image per row.
        reference: The same prompts and seeds without guidance.
        groups: The prompt of every row.

    Accuracy:
        Numerator and denominator are unbiased; the bias of their ratio is O(1/prompts).

    Raises:
        ShapeError: if the two runs do not match.
        ConfigError: if there are fewer than two prompts, fewer than four images in one, or prompts do not differ.
    Source:
        [ventura2026emergence], mean distortion; derived in explanation/metrics.
    """
    x, y, labels, strata = _two_runs(features, reference, groups)
    shift, apart = np.empty((2, len(strata), x.shape[1])), np.empty((2, len(strata), x.shape[1]))
    for g, rows in enumerate(strata):
        for half in (0, 1):
            part = rows[half::2]
            apart[half, g] = y[part].mean(0, dtype=np.float64)
            shift[half, g] = x[part].mean(0, dtype=np.float64) - apart[half, g]
    apart -= apart.mean(1, keepdims=True)
    level = shift.mean(1, keepdims=True)
    top, bottom = np.empty(len(x)), np.empty(len(x))
    for g, rows in enumerate(strata):
        for half, other in ((0, 1), (1, 0)):
            part = rows[half::2]
            weight = len(rows) / (2 * len(part))
            own = y[part].astype(np.float64)
            own = own - own.mean(0)
            moved = x[part].astype(np.float64) - y[part] - shift[half, g]
            noise = moved @ apart[other, g] + own @ (shift[other, g] - level[other, 0])
            top[part] = weight * (shift[half, g] @ apart[other, g] + noise)
            bottom[part] = weight * (apart[half, g] @ apart[other, g] + 2 * own @ apart[other, g])
    return Contributions(values=top, groups=labels).per(Contributions(values=bottom, groups=labels))


def displacement_from(features: ArrayLike, reference: ArrayLike, groups: ArrayLike) -> Contributions:
    r"""Squared displacement of the prompts' means in any direction, over the reference's variance within prompts.

    Accuracy:
        Numerator and denominator are unbiased: where nothing moved, it is slightly negative as often as positive.

    Raises:
        ShapeError: if the two runs do not match.
        ConfigError: if a prompt has fewer than four images, or the reference does not vary.
    Source:
        U-statistic of the paired differences; derived in explanation/metrics.
    """
    x, y, labels, strata = _two_runs(features, reference, groups, least=1)
    values = np.empty(len(x))
    for rows in strata:
        moved = x[rows].astype(np.float64) - y[rows]
        n, total = len(rows), moved.sum(0)
        to_others = (moved @ total - (moved**2).sum(1)) / (n - 1)
        values[rows] = 2 * to_others - to_others.mean()
    within = variance_within(y, labels)
    order = np.concatenate(strata)
    return Contributions(values=values[order], groups=labels[order]).per(within)


def _two_runs(
    features: ArrayLike, reference: ArrayLike, groups: ArrayLike, least: int = 2
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[NDArray[np.intp]]]:
    x, labels = as_features(features, groups, least=4)
    y, _ = as_features(reference, groups, least=4)
    if x.shape != y.shape:
        raise ShapeError(f"expected two runs of the same prompts, seeds and features, got shapes {x.shape}, {y.shape}")
    strata = rows_of(labels)
    if least > 1:
        _several(len(strata))
    return x, y, labels, strata


def _several(prompts: int) -> int:
    if prompts < 2:
        raise ConfigError("one prompt has nothing to be told from; expected at least 2")
    return prompts


def _told(train: NDArray[Any], target: NDArray[np.intp], test: NDArray[Any], components: int) -> NDArray[np.intp]:
    """The prompts that a discriminant trained on some images gives to others."""
    from sklearn.decomposition import PCA  # a second to import
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    varies = train.std(0, dtype=np.float64) > 0
    if not varies.any():
        return np.zeros(len(test), dtype=np.intp)
    train, test = train[:, varies].astype(np.float64), test[:, varies].astype(np.float64)
    if min(train.shape) > components:
        cut = PCA(components, svd_solver="randomized", random_state=0).fit(train)
        train, test = cut.transform(train), cut.transform(test)
    model = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Shrunk()).fit(train, target)
    return np.asarray(model.predict(test), dtype=np.intp)
