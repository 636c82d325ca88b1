"""Words of a sentence: spelling, number, and the small words that say what is asked and not for what.

Pure functions of text; nothing here knows a structure.
"""

from __future__ import annotations

import re
from functools import lru_cache

# British and Latin spellings and their American forms: the base may use either, and so may the user.
_SPELLINGS = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"^oe(?=soph|dem|str)", "e"),
        (r"foet", "fet"),
        (r"coel(?=i)", "cel"),
        (r"haem", "hem"),
        (r"aem(?=i)", "em"),
        (r"([cf])aec", r"\1ec"),
        (r"^(an)?aesth", r"\1esth"),
        (r"paed", "ped"),
        (r"naev", "nev"),
        (r"(tum|col|lab|hum|vap|od|neighb)our", r"\1or"),
        (r"gr[ea]y", "gray"),
        (r"(cent|fib|goit|lit|calib|met)re(s?)$", r"\1er\2"),
        (r"^disk", "disc"),
        (r"(organ|metabol|recogn|oxygen)is", r"\1iz"),
        (r"^glutae", "glute"),
    )
)
# Only a word with one of these can have another spelling.
_SUSPECT = re.compile("[aeo][eo]|our|gr[ea]y|re|disk|is")
ARTICLES = frozenset("the a an this that these those my our his her its their patient some any".split())
FILLERS = frozenset("whole entire full complete healthy normal human visible actual".split())
SIDES = frozenset(("left", "right"))
LOOKS = frozenset(
    """
    bright brighter brightest dark darker darkest white black gray light pale hyperdense hypodense hyperintense
    hypointense isodense hyperechoic hypoechoic anechoic echogenic shining round rounded circular oval elongated
    long thin thick irregular lobulated branching small tiny little large big smooth sharp blurry homogeneous
    suspicious abnormal pathological focal solid malignant benign enhancing red yellow brown purple blue green pink
    warm cold central peripheral
    """.split()
)
THINGS = frozenset("thing object spot blob structure region area patch part shape something organ one".split())
PICKS = {
    **dict.fromkeys(("larger", "bigger", "greater"), "larger"),
    **dict.fromkeys(("largest", "biggest", "greatest"), "largest"),
    "smaller": "smaller",
    **dict.fromkeys(("smallest", "tiniest"), "smallest"),
}
# Prepositions of vicinity, and how they are said back. Left and right are the patient's.
NEAR = {
    **dict.fromkeys(("next to", "beside", "near", "near to", "close to", "adjacent to", "touching"), "next to"),
    **dict.fromkeys(("by", "alongside", "bordering", "abutting"), "next to"),
    **dict.fromkeys(("above", "over", "on top of", "superior to", "cranial to"), "above"),
    **dict.fromkeys(("below", "under", "underneath", "beneath", "inferior to", "caudal to"), "below"),
    **dict.fromkeys(("behind", "posterior to", "in back of", "dorsal to"), "behind"),
    **dict.fromkeys(("in front of", "anterior to", "ventral to", "before"), "in front of"),
    **dict.fromkeys(("around", "surrounding", "about"), "around"),
    **dict.fromkeys(("left of", "to the left of", "on the left of"), "left of"),
    **dict.fromkeys(("right of", "to the right of", "on the right of"), "right of"),
    **dict.fromkeys(("lateral to",), "lateral to"),
    **dict.fromkeys(("medial to",), "medial to"),
    **dict.fromkeys(
        ("at the level of", "at level", "at vertebral level", "at the vertebral level of"), "at the level of"
    ),
    **dict.fromkeys(("at the level", "at the vertebral level", "at the height of"), "at the level of"),
}
WITHIN = frozenset("in inside within of from at on".split())
EXCLUDING = re.compile(
    r"\s*,?\s+(?:but not|except for|except|excluding|without|minus|not including|but without|apart from|leaving out"
    r"|and not|not)\s+"
)
NEGATIONS = frozenset(("not", "no", "never", "except", "excluding", "without", "neither", "nor", "none", "minus"))
QUESTIONS = frozenset(("which", "what", "where", "who", "whose"))
# Words that carry no content in a description.
EMPTY = (
    ARTICLES
    | QUESTIONS
    | frozenset(
        """
        and are as at be by can could do does each every for go goe goes has have here how i in into is it me most of on
        one or out side that there they to us we when will with you your about above around behind below beneath
        beside between from inside near next outside over through towards under within left right both bilateral
        happen happens called being while during if so them structure thing used up down
        """.split()
    )
)
_VERBS = (
    "segment|outline|mark|show|find|delineate|contour|trace|annotate|draw|label|highlight|select|locate|identify"
    "|detect|extract|get|give|mask|click|click on|point to|point at|point out|display|take|look for|search for"
)
_PICTURES = (
    "scan|image|picture|slice|view|volume|study|series|photo|photograph|frame|radiograph|x ray|xray|mri|mr|ct|pet"
    "|ultrasound|sonogram|video|section|ct scan|mri scan|mr scan|pet scan|exam|examination|cut"
)
_QUALITIES = (
    "(?:axial|coronal|sagittal|whole|entire|current|ct|mri?|pet|ultrasound|microscopy|histology|endoscopy|fundus|oct"
    "|abdominal|chest|brain|t1|t2|flair|weighted|x ray|contrast|enhanced)"
)
# What frames a request and says nothing about its target, in the order in which it is taken away.
_FRAMES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(please|kindly|thanks|thank you|hello|hi|hey|okay|ok|carefully|precisely|exactly|accurately)\b",
        rf"\b(and )?(then )?({_VERBS}) (it|them|this|that)( for me| out| now| here)*$",
        r"\b(for me|for us|right now|now|again|just|visible here|seen here|shown here|here|slice by slice)\b",
        rf"\b(in|on|of|from|through|throughout|across) (this|the|my|a|these|that) ({_QUALITIES} )*({_PICTURES})s?$",
        rf"\b(in|on) ({_PICTURES})$",
        r"\bin (3d|all slices|every slice|three dimensions)$",
        r"\b(of|in) (this|the|my) patient$",
        r"^(can|could|would|will) you\b",
        r"^(i|we) (want|need|would like|d like|wish)( you)?( to)?( see| have)?\b",
        r"^(let us|lets|let s|help me|try to|go and|now|so|then|and)\b",
        r"^(the |a |an )?(outline|contour|mask|segmentation|boundary|border|region) (of|for)\b",
        rf"^({_VERBS})( me| us| out)?\b(?! (\d|[ivx]+) of)",
        rf"^({_VERBS})( me| us| out)?\b(?! (\d|[ivx]+) of)",
        r"^(the |a |an )?(outline|contour|mask|segmentation|boundary|border|region) (of|for)\b",
        r"^(where|what|which)( one)? (is|are)( there)?\b",
        r"^(which|what) \w+ (is|are) (?=(the|a|an) )",
        r"^(which|what) (?!one)(?=\w+ )",
        r"^is there\b|^are there\b|^there (is|are)\b",
        r"^(is|are) (?=the\b|a\b|an\b)",
        r"^(everything|anything|all|whatever) (that|which)? ?(is|are|belongs to|looks like)\b",
    )
)
# Every word that such a frame can have is right as it stands.
FRAME_WORDS = frozenset(word for frame in _FRAMES for word in re.findall(r"[a-z]{3,}", frame.pattern))
_TIDY = re.compile(r"\s+")


@lru_cache(maxsize=8192)
def spelled(word: str) -> str:
    """A lower-case word in one spelling: tumour and tumor, foetal and fetal are the same."""
    if _SUSPECT.search(word):
        for pattern, new in _SPELLINGS:
            word = pattern.sub(new, word)
    return word


def tokens(text: str) -> list[str]:
    """The words of a text as they were typed, without possessive endings."""
    found = re.findall(r"[^\W_]+(?:'s\b)?", text.replace("’", "'"))
    return [word.removesuffix("'s") for word in found]


def words(text: str) -> list[str]:
    """The words of a text in lower case and one spelling."""
    return [spelled(word.lower()) for word in tokens(text)]


def bare(text: str) -> str:
    """What is left of a spelled, lower-case sentence without the words that frame a request ("can you show me")."""
    text = _tidy(text)
    for pattern in _FRAMES:
        text = _tidy(pattern.sub(" ", text))
    return text


def _tidy(text: str) -> str:
    return _TIDY.sub(" ", text).strip(" ,")


def singular(word: str) -> str:
    """A word without the plural ending of the regular kind."""
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-3] + "y" if word.endswith("ies") else word[:-1]
    return word


def plurals(word: str) -> tuple[str, ...]:
    """How a noun may look in the plural: English and Latin."""
    found = [f"{word}s", f"{word}es"]
    for ending, others in (
        ("us", ("i", "uses", "era", "ora")),
        ("um", ("a", "ums")),
        ("a", ("ae", "as", "ata")),
        ("is", ("es", "ides")),
        ("ex", ("ices",)),
        ("ix", ("ices",)),
        ("nx", ("nges",)),
        ("x", ("ces",)),
        ("on", ("a",)),
        ("en", ("ina",)),
        ("y", ("ies",)),
        ("oth", ("eeth",)),
        ("oot", ("eet",)),
    ):
        if word.endswith(ending):
            found += [word[: -len(ending)] + other for other in others]
    return tuple(found)


def stem(word: str) -> str:
    """A rough stem, the same for "store", "stores", "stored" and "storing"."""
    word = singular(word)
    for ending in ("ing", "ed", "e", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
