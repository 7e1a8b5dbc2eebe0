"""The report on a model: how it compares with its parent, and whether it may be promoted."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from daemon.text import count, escape, format_utc

_SIGNIFICANCE = 0.05
_LEAST_SHOWN = 0.001  # a smaller probability says no more to a person


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same cases: the parent before, the new model after.

    Attributes:
        name: what the cases are, for people.
        cases: their number.
        right_before, right_after: how many each model has right.
        better: how many are wrong before and right after.
        worse: how many are right before and wrong after.
    """

    name: str
    cases: NonNegativeInt
    right_before: NonNegativeInt
    right_after: NonNegativeInt
    better: NonNegativeInt
    worse: NonNegativeInt

    @classmethod
    def count(cls, name: str, before: Sequence[bool], after: Sequence[bool]) -> Self:
        """Compare which cases each model has right, in the same order."""
        pairs = list(zip(before, after, strict=True))
        return cls(
            name=name,
            cases=len(pairs),
            right_before=sum(old for old, _ in pairs),
            right_after=sum(new for _, new in pairs),
            better=sum(new and not old for old, new in pairs),
            worse=sum(old and not new for old, new in pairs),
        )

    @property
    def p_worse(self) -> float:
        """The probability of so many ``worse`` or more if neither model were better.

        This is the one-sided exact sign test: of ``better + worse`` fair coins, ``worse`` or more
        show heads.
        """
        return probability_of_more(self.worse, self.better + self.worse, 0.5)

    @property
    def is_worse(self) -> bool:
        """Whether the new model is significantly worse."""
        return self.p_worse < _SIGNIFICANCE

    @property
    def is_better(self) -> bool:
        """Whether the new model is significantly better."""
        return probability_of_more(self.better, self.better + self.worse, 0.5) < _SIGNIFICANCE


def probability_of_more(successes: int, trials: int, chance: float) -> float:
    """Return the probability of at least so many successes, each of which has the same chance.

    Logarithms, because binomial coefficients of 1,030 trials exceed floats.
    """
    return math.fsum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(number + 1)
            - math.lgamma(trials - number + 1)
            + number * math.log(chance)
            + (trials - number) * math.log1p(-chance)
        )
        for number in range(successes, trials + 1)
    )


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a model; all texts are for people.

    Attributes:
        made: when, ISO 8601 UTC.
        by: the command, such as ``learn``.
        parent: the id of the model that it is compared with, if any.
        comparisons: with the parent.
        facts: a label and a text each.
        notes: warnings that do not prevent the promotion.
        refusals: reasons not to promote it, besides the comparisons.
        pictures: the names of files in its folder.
    """

    made: str
    by: str
    parent: str | None = None
    comparisons: tuple[Comparison, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it must not be promoted, as sentences; empty if it may be."""
        worse = (_describe_worse(one) for one in self.comparisons if one.is_worse)
        return (*self.refusals, *worse)

    def as_json(self) -> str:
        """Return it as JSON, for ``parse``."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"

    def describe(self, model_id: str = "") -> str:
        """Return it as lines for a terminal; ``model_id``: of the model that it is about."""
        parent = f", compared with {self.parent}" if self.parent else ""
        lines = [f"made {format_utc(self.made)} by {self.by}{parent}"]
        if self.comparisons:
            legend = (
                f"before: with {self.parent or 'the other model'}; after: with "
                f"{model_id or 'this model'}; better: cases wrong before and right after; worse: "
                "right before and wrong after"
            )
            lines += ["", *_table(self.comparisons), "", legend]
        if self.facts:
            lines += ["", *(f"{label}: {text}" for label, text in self.facts)]
        lines += [f"note: {note}" for note in self.notes]
        lines += ["", *(f"must not be promoted: {reason}" for reason in self.reasons)]
        if not self.reasons:
            lines.append("may be promoted")
        return "\n".join(map(escape, lines))


def parse(text: str | bytes) -> Report:
    """Return the report that ``as_json`` wrote.

    Raises:
        ValueError: the text is not one; the message is one line.
    """
    try:
        return _REPORT.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from None


_REPORT = TypeAdapter(Report)


def _describe_worse(one: Comparison) -> str:
    return (
        f"it is worse on {one.name}: {count(one.worse, 'case')} of {one.cases} right before and "
        f"wrong after, {one.better} the other way round ({_format_p(one.p_worse)})"
    )


def _format_p(probability: float) -> str:
    return f"p = {probability:.2g}" if probability >= _LEAST_SHOWN else f"p < {_LEAST_SHOWN}"


def _table(comparisons: tuple[Comparison, ...]) -> list[str]:
    """Return aligned lines: a header, and one for each comparison."""
    cells = [["", "cases", "right before", "right after", "better", "worse"]]
    for one in comparisons:
        shares = [_share(right, one.cases) for right in (one.right_before, one.right_after)]
        cells.append([one.name, str(one.cases), *shares, str(one.better), str(one.worse)])
    first, *widths = (max(map(len, column)) for column in zip(*cells, strict=True))
    return ["  ".join([name.ljust(first), *map(str.rjust, rest, widths)]) for name, *rest in cells]


def _share(right: int, cases: int) -> str:
    return f"{right} ({right / cases:.1%})" if cases else "-"
