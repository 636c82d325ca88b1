"""Short thoughts from few words, for a model of some million parameters: what is wrong, of what, and where.

No sentence has more than twelve words; a target of more than four words is called "target" for that. The patterns
hold eight words besides the target, a place counted as two.
"""

from __future__ import annotations

MOST_WORDS = 12
# Of a target's name, so that eight others are left.
MOST_IN_NAME = 4

FIRST = (
    "No mask yet: {name} at the picture's {place}.",
    "Nothing marked: {name} at the picture's {place}.",
    "Start with {name} at the picture's {place}.",
    "No mask. Click {name} at the picture's {place}.",
)
MISSED = (
    "The mask misses {name} at the picture's {place}.",
    "More {name} at the picture's {place}.",
    "Add {name} at the picture's {place}.",
    "Missed {name} at the picture's {place}.",
)
# A positive click on what is in the mask already.
HELD = (
    "Keep {name} at the picture's {place}.",
    "Hold {name} at the picture's {place}.",
    "The mask holds {name} at the picture's {place}.",
)
SPILLED = (
    "The mask spills at the picture's {place}: not {name}.",
    "Not {name} at the picture's {place}.",
    "Remove the spill at the picture's {place}: not {name}.",
    "Spilled beyond {name} at the picture's {place}.",
)
# A negative click beside the mask.
KEPT_OUT = (
    "Keep out of the picture's {place}: not {name}.",
    "No mask at the picture's {place}: not {name}.",
    "Bar the picture's {place}: not {name}.",
)
DONE = (
    "The mask covers {name}. Done.",
    "The mask fits {name}. Stop here.",
    "Nothing of {name} missed, nothing spilled. Stop.",
    "Done: the mask holds {name}.",
)
REVERT = (
    "Wrong click, not {name}. Take it back.",
    "The mask is not {name}. Take it back.",
    "Go back: the mask lies off {name}.",
    "Take back the click: not {name}.",
)
REVERT_TO = (
    "Not {name}. Back, then the picture's {place}.",
    "Wrong click: {name} at the picture's {place}.",
    "Go back: {name} at the picture's {place}.",
)
REVERT_EMPTY = (
    "The click found nothing. Take it back.",
    "No mask from the click. Go back.",
    "Wrong click, no mask. Take it back.",
)
REVERT_EMPTY_TO = (
    "No mask. Back, then the picture's {place}.",
    "Nothing found. Try the picture's {place}.",
    "Go back: try the picture's {place}.",
)
DISCARD = (
    "This mask is not {name}. Start anew.",
    "Discard the mask: not {name}.",
    "The mask lies off {name}. Discard it.",
)
DISCARD_TO = (
    "Discard: {name} at the picture's {place}.",
    "Not {name}. Start anew: the picture's {place}.",
    "Start anew: {name} at the picture's {place}.",
)
ABSENT = (
    "The picture does not show {name}.",
    "Nothing here looks like {name}.",
    "I cannot find {name} here.",
    "No click: {name} not in the picture.",
)
