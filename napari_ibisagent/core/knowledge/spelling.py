"""Typing errors: the one known word that was meant, or none; and the known terms nearest to an unknown one.

Precision comes first. A word is mended only where exactly one known word is near, and its first letter is right:
a "river" is no liver, and the "axilla" no maxilla.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property

# Real words that lie one letter from a name: never read as a typing error.
_REAL_WORDS = frozenset(
    """
    perineum perineal peroneal malar molar lingual sural dural mural neural humoral tumoral ureteric urethral uvula
    vulva trochlea trochlear trochanter malleus malleolus tension fascia facial radial medial median lateral model
    module moral metal mental portal postal crown brown spine spinal pubic cubic pelvic colonial collar dollar
    vertex vortex vertigo liver lives level lever bowl bone bones bond stone store stove storm brain drain train
    grain heart hearts hearth hears heard lunge lungs lunch kindly kidding artist artery spleen spheres thigh tight
    might light night sight fight eight right rights bright breath breathe breadth bread breast blast beast cheat
    chest chess check cheek test vest vein veins vain plane plant plate plaque place pleura plural plexus node nodes
    noodle mouse mouth south tooth booth teeth scarf scare score skill skull shell stump stomp stroke strike spoke
    cell cells call sell tell calls fluid fluent flood blood bloody gland grand glance stent spent stunt lens less
    lesson lesions nasal basal naval navel anal canal penal renal retinal rectal regal vagal fetal fatal focal vocal
    local tibial tidal iliac ileac coccyx cortex vortex radius radios abductor adductor afferent efferent internal
    external anterior posterior superior inferior proximal distal dorsal ventral cranial caudal intra inter infra
    supra hypo hyper mass mast mask must cyst cysts cast costs coast clot plot cloth edema enema eczema anemia uremia
    """.split()
)


def distance(a: str, b: str, limit: int) -> int:
    """Edits (a letter too many, too few or wrong, or two swapped) from a to b; limit + 1 where there are more."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before, last = list(range(len(b) + 1)), list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        now = [i]
        for j, other in enumerate(b, start=1):
            cost = min(now[j - 1] + 1, last[j] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            now.append(cost)
        if min(now) > limit:
            return limit + 1
        before, last = last, now
    return last[-1]


class Speller:
    """Known words and terms, indexed so that a look-up costs well below a millisecond."""

    def __init__(self, known: Iterable[str], lemmas: Mapping[str, str], terms: Iterable[tuple[str, str]]) -> None:
        """``known``: right words; ``lemmas``: plural to singular; ``terms``: (what may be typed, the name for it)."""
        self._known = frozenset(known)
        self._lemmas = lemmas
        self._by_start: dict[str, list[str]] = defaultdict(list)
        for word in sorted(self._known):
            self._by_start[word[:1]].append(word)
        self._terms = tuple(terms)

    def knows(self, word: str) -> bool:
        """Whether a word in lower case and one spelling is right as it stands."""
        return word in self._known

    def mended(self, word: str) -> str | None:
        """The only known word near a misspelt one: one edit from five letters on, two from nine on; else None."""
        if len(word) < 5 or word in self._known or word in _REAL_WORDS or not word.isalpha():
            return None
        swapped = word[1] + word[0] + word[2:]
        if swapped in self._known:
            return swapped
        most = 2 if len(word) >= 9 else 1
        near = [(distance(word, other, most), other) for other in self._by_start[word[0]] if len(other) >= 5]
        least = min((edits for edits, _ in near), default=most + 1)
        best = [other for edits, other in near if edits == least]
        if least > most or len({self._lemma(other) for other in best}) > 1:
            return None
        return best[0]

    def _lemma(self, word: str) -> str:
        return self._lemmas.get(word, word).removesuffix("s")

    def nearest(self, text: str, count: int = 4) -> tuple[str, ...]:
        """The names most like a text, by their letters in threes; none where nothing is like it."""
        grams = _trigrams(text)
        index, sizes = self._grams
        shared = Counter(at for gram in grams for at in index.get(gram, ()))
        rated = sorted((-2 * n / (len(grams) + sizes[at]), at) for at, n in shared.items())
        names = (self._terms[at][1] for score, at in rated if score <= -0.35)
        return tuple(dict.fromkeys(names))[:count]

    @cached_property
    def _grams(self) -> tuple[dict[str, list[int]], list[int]]:
        """For every three letters the terms that have them, and how many different ones each term has."""
        index: dict[str, list[int]] = defaultdict(list)
        sizes: list[int] = []
        for at, (typed, _) in enumerate(self._terms):
            grams = _trigrams(typed)
            sizes.append(len(grams))
            for gram in grams:
                index[gram].append(at)
        return index, sizes


def _trigrams(text: str) -> frozenset[str]:
    padded = f"  {text} "
    return frozenset(padded[at : at + 3] for at in range(len(padded) - 2))
