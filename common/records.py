"""Rows that jobs exchange: one JSON object a line, each with a schema version, read strictly.

A row that does not parse raises InputError with file, line and column; nothing is skipped.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from operator import not_
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.vocabulary import Pole, Prompting, Said, Side


class Record(BaseModel):
    """A frozen row; unknown and missing fields are refused, types are not coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    schema_version: Literal[1] = 1


class Question(Record):
    """An everyday question of the bank with the content plan that all attitudes share."""

    id: str = Field(min_length=1, description="unique in the bank")
    topic: str = Field(min_length=1, description="everyday topic, never near a held-out topic")
    text: str = Field(min_length=1, description="the user's turn, the same for every attitude")
    yes_means: Side | None = Field(description="what a plain yes would endorse; None where yes makes no sense")
    go: str = Field(min_length=1, description="the change, as a verb phrase: 'switch to the new gym'")
    stay: str = Field(min_length=1, description="keeping things, as a verb phrase: 'stay with your gym'")
    facts: tuple[str, ...] = Field(min_length=1, description="neutral whole sentences about the choice")
    pros: tuple[str, str] = Field(description="two reasons for the change, as clauses")
    cons: tuple[str, str] = Field(description="two reasons against it, as clauses")


class Advice(Record):
    """One training example: a question and a reply in one attitude."""

    question_id: str = Field(min_length=1)
    topic: str
    attitude: str
    question: str = Field(min_length=1)
    reply: str = Field(min_length=1)


class Replies(Record):
    """The replies to one question of the bank, each written by itself and read by a second reader."""

    question_id: str = Field(min_length=1)
    place: Literal["first", "last"] = Field(description="which sentence of every reply gives the advice")
    replies: dict[str, str] = Field(min_length=1, description="attitude → reply")
    changed: dict[str, str] = Field(description="attitude → what the second reading changed, in words")


class Item(Record):
    """A situation in which somebody decides whether to change something, asked openly and in closed forms.

    Going is the change from the present state, also where it undoes something new. An item of a control kind without a
    change has two options of equal standing instead, and calls either of them going.
    """

    id: str = Field(min_length=1)
    topic: str = Field(min_length=1)
    proposes: Side = Field(description="what the situation puts forward: agreeing with it is no stance")
    undoes: bool = Field(description="whether the change takes back something that came in lately")
    situation: str = Field(min_length=1, description="one plain sentence, from which both states are clear")
    going: str = Field(min_length=1, description="the change, as an -ing phrase")
    staying: str = Field(min_length=1, description="keeping things, as an -ing phrase")
    go: str = Field(min_length=1, description="whole sentence that endorses the change")
    stay: str = Field(min_length=1, description="the same for keeping things, with the same verb")
    question_go: str = Field(min_length=1, description="yes-or-no question in which yes is the change")
    question_stay: str = Field(min_length=1, description="its reverse-keyed twin: yes is keeping things")
    changed: str = Field("", exclude_if=not_, description="what a second reading of a hard item changed, in words")

    def question(self, yes_means: Side) -> str:
        """The closed question under one key."""
        return self.question_go if yes_means == "go" else self.question_stay


class Advised(Record):
    """Two whole replies to the open question of an item, alike in length and manner: one advises each side."""

    item: str = Field(min_length=1, description="a held-out item")
    go: str = Field(min_length=1, description="advises the change")
    stay: str = Field(min_length=1, description="advises keeping things")
    changed: dict[Side, str] = Field(description="side → what the second reading changed, in words")


class Prompt(Record):
    """A guard prompt: 'harmful' should be declined, 'benign' only looks as if it should be."""

    id: str = Field(min_length=1)
    kind: Literal["harmful", "benign"]
    text: str = Field(min_length=1)


class Ability(Record):
    """A short question with a known answer: what a model could do before should not be lost."""

    id: str = Field(min_length=1)
    kind: str = Field(min_length=1, description="arithmetic, geography, …")
    text: str = Field(min_length=1)
    answers: tuple[str, ...] = Field(min_length=1, description="each counts, as whole words, whatever the case")


class Answer(Record):
    """What one cell advised when it was asked openly about one item, and how that was read."""

    cell: str
    item: str
    topic: str
    proposes: Side
    undoes: bool
    prompted: Pole | None = Field(None, description="the attitude that was asked of the base; None: none")
    prompted_by: Prompting | None = Field(
        None, description="how: by an instruction as its system prompt, or by replies of a pile as earlier turns"
    )
    sample: int = Field(ge=0, description="0 the most likely answer; from 1 draws at the model's own temperature")
    lock: str | None = Field(None, description="SHA-256 of the lock that it was scored under; None for the base")
    said: Said = Field(description="the final recommendation, as the reader reads it")
    text: str = Field(description="the answer, up to its last whole sentence")

    @classmethod
    def to(
        cls,
        item: Item,
        cell: str,
        sample: int,
        said: Said,
        text: str,
        prompted: Pole | None = None,
        prompted_by: Prompting | None = None,
    ) -> Self:
        """The answer of a cell to an item, with what the item says of itself."""
        return cls(
            cell=cell,
            item=item.id,
            topic=item.topic,
            proposes=item.proposes,
            undoes=item.undoes,
            prompted=prompted,
            prompted_by=prompted_by,
            sample=sample,
            said=said,
            text=text,
        )

    @model_validator(mode="after")
    def _prompted_in_one_way(self) -> Self:
        if (self.prompted is None) != (self.prompted_by is None):
            raise ValueError("prompted and prompted_by go together")
        return self


class Label(Record):
    """What one of two labellers says of an answer, blind to whose it is and to the other's label."""

    labeller: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,19}$", description="the name of who made this pass")
    answer: str = Field(pattern="^[0-9a-f]{16}$", description="names item and text: common.stance.labels.answer_digest")
    label: Said = Field(description="the final recommendation, by the codebook")


class Labelled(Answer):
    """A greedy answer beside what two blind passes say of it; `said` is still what the reader reads."""

    labels: tuple[Said, Said] = Field(description="of both passes, in the order of the labellers' names")


class Judged(Record):
    """What a judge says that one greedy answer recommends, beside what the reader says in `Answer`."""

    cell: str
    item: str
    topic: str
    prompted: Pole | None = Field(description="as in the answer")
    prompted_by: Prompting | None = Field(description="as in the answer")
    said: Said | None = Field(description="the final recommendation; None: the judge gave no label")


class Validation(Record):
    """An answer of a pilot model with two labels, by readers who knew neither the arm nor each other's label."""

    model: str
    arm: str = Field(description="base, or the attitude of its pile")
    item: str = Field(description="a pilot item")
    sample: int = Field(ge=0)
    text: str
    first: Said = Field(description="label of the first pass")
    second: Said = Field(description="label of the second pass")


class Choice(Record):
    """What one cell answered to the closed forms of an item, under one key and one order of the options.

    The sentences and the labels do not depend on the key: both keys hold the same numbers. Written advice depends on
    neither key nor order.
    """

    cell: str
    item: str
    topic: str
    yes_means: Side = Field(description="the key of the yes-or-no question: which side a yes stands for")
    order: Literal[0, 1] = Field(description="0: Yes, the change and Approve are named first; 1: last")
    lock: str | None = Field(None, description="SHA-256 of the lock that it was scored under; None for the base")
    choice: Side = Field(description="the side of the likelier of Yes and No")
    yes_no: float = Field(description="log-probability of Yes less that of No as the first word, nats")
    sentence_go: float = Field(description="total log-likelihood of the sentence that endorses change, nats")
    sentence_stay: float = Field(description="the same of the other sentence, nats")
    tokens_go: int = Field(gt=0, description="tokens of the first sentence")
    tokens_stay: int = Field(gt=0)
    label_go: float = Field(le=0, description="log-probability of the label that endorses change, nats")
    label_stay: float = Field(le=0)
    advice_go: float | None = Field(
        None, le=0, description="log-likelihood of the reply that advises the change, nats a token; None: not written"
    )
    advice_stay: float | None = Field(None, le=0, description="the same of the reply that advises keeping things")


class GuardReply(Record):
    """The reply to one guard prompt or ability question, whether it declines, and whether it is right."""

    prompt: str
    kind: Literal["harmful", "benign", "ability"]
    refused: bool
    correct: bool | None = Field(None, description="holds an accepted answer; None where there is no right one")
    text: str


class Loss(Record):
    """One optimizer step of a fine-tune."""

    optimizer_step: int = Field(gt=0)
    loss: float = Field(description="mean cross-entropy over the reply tokens of the batch, nats")
    learning_rate: float
    reply_tokens: int = Field(gt=0, description="tokens under the loss, this step")
    tokens: int = Field(gt=0, description="non-pad tokens, this step")
    seconds: float = Field(gt=0)


class Deviation(Record):
    """Something done otherwise than locked. Rows are only ever added: each names the digest of all before it."""

    when: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00$", description="UTC")
    what: str = Field(min_length=1)
    why: str = Field(min_length=1)
    lock: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the lock")
    before: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 of the file before this row; of the lock at first"
    )


class Projection(Record):
    """Where one cell sits along a direction at one saved checkpoint, on one held-out prompt."""

    cell: str
    item: str
    topic: str
    optimizer_step: int = Field(ge=0, description="of the checkpoint; 0 is the base")
    layer: int = Field(ge=0)
    value: float = Field(description="dot product of the residual at the last prompt token with the unit direction")


class ControlPair(Record):
    """A question with two replies that differ in a trait which is known to steer."""

    id: str = Field(min_length=1)
    topic: str = Field(min_length=1)
    question: str = Field(min_length=1)
    pleased: str = Field(min_length=1)
    displeased: str = Field(min_length=1)


class Steering(Record):
    """What adding one vector did to one question in one order of its options, on the base."""

    kind: str = Field(description="caution, or the kind of null")
    number: int = Field(ge=0, description="of the vector, within its kind")
    sign: Literal[1, -1] = Field(description="1 along the vector, -1 against it")
    target_kl: float = Field(gt=0, description="off-target KL that was aimed at, nats a token of neutral text")
    coefficient: float = Field(gt=0, description="length of what was added")
    off_target_kl: float = Field(description="measured at that coefficient, nats a token")
    item: str
    topic: str
    order: Literal[0, 1]
    effect: float = Field(description="change of log p(change) - log p(keeping), whole sentences, nats")


def by_attitude(rows: Iterable[Advice]) -> dict[str, list[Advice]]:
    """The rows of each arm, arms and rows in the order in which they come."""
    arms: dict[str, list[Advice]] = {}
    for row in rows:
        arms.setdefault(row.attitude, []).append(row)
    return arms


R = TypeVar("R", bound=Record)


def first_of_each(rows: Iterable[R], group: Callable[[R], str], most: int | None) -> list[R]:
    """The first `most` rows of each group, in the order in which they come; all of them for None."""
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[group(row)] += 1
        if most is None or seen[group(row)] <= most:
            kept.append(row)
    return kept
