"""Events to registers, registers to cards, cards to the customer's record. Pure: no I/O, no clock."""

from core.projection.cards import Place, article_text, card, place
from core.projection.persons import Carried, PersonState, names, person_state
from core.projection.record import Base, Choice, Member, Piece, Shown, base, fold, merged_record
from core.projection.registers import Registers, Visible, of_look

FOLD_REVISION = 3  # raise it when the same events give another record: older workers stop, the store is rebuilt

__all__ = [
    "FOLD_REVISION", "Base", "Carried", "Choice", "Member", "PersonState", "Piece", "Place", "Registers", "Shown",
    "Visible", "article_text", "base", "card", "fold", "merged_record", "names", "of_look", "person_state",
    "place",
]  # fmt: skip
