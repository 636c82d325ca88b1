"""What a thought can sound like: patterns for every kind of turn. ``wording`` says how they are read.

Fields: ``the`` target with its article, ``where`` the click goes, the ``gap`` that it fills or the ``spill`` that it
takes away, the ``mask`` with its size and place. The target is never a sentence's subject before a verb that would
have to agree with it ("both kidneys"). A side is said with the picture beside it, so that it isn't taken for the
patient's.
"""

from __future__ import annotations

from napari_ibisagent.training.words.places import Lie

IN_PLACE = (
    "the {place} of the picture",
    "the {place} of the picture",
    "the picture's {place}",
    "the {place} part of the picture",
)

FIRST = (
    "(There is no mask yet|No mask has been drawn so far|The picture carries no mask yet). What looks like {the} lies"
    " in {where}, so I (begin|start) there with a positive (point|click).",
    "I am asked for {the}. The (region|structure) that fits (best|this name best) lies in {where}; a positive"
    " (click|point) (goes|belongs) there.",
    "To begin with, I (look for|search the picture for) {the}. (A fitting region shows|Something that fits can be"
    " seen) in {where}, and I click (into it|inside it).",
    "Nothing is marked yet. I (recognise|make out) {the} in {where} and (click there|put a positive point there).",
    "{The} can be (made out|seen) in {where}. (As there is no mask to correct|With no mask to correct yet), I (click"
    " into what I see|place a positive click on it).",
    "(Looking over the picture|Going through the picture), I take the region in {where} (for|to be) {the}. The (first"
    " click|first positive point) goes (there|into it).",
    "The task is {the}. (Without a mask|Before there is a mask) there is only the picture: the (best|likeliest)"
    " candidate lies in {where}, and I mark it with a positive (point|click).",
    "My first click should (land|fall) inside {the}. (Shape and brightness|Form and shade) (point to|speak for)"
    " {where}.",
    "I (scan|search) the picture for {the}. In {where} I (see|find) what I (need|am looking for), so the first"
    " positive (point|click) goes there.",
    "(First of all|At the start) the tool needs a hint where to find {the}. I (give it|place) a positive click in"
    " {where}, where (the picture fits|it looks right).",
)

MISSED = (
    "The mask (misses|leaves out) {gap}, in {where}. That (also|still) belongs to {the}, so I add a positive"
    " (point|click).",
    "So far the mask is {mask}. {Gap}, in {where}, should be part of {the} (too|as well); I click (into it|there)"
    " with a positive point.",
    "{Gap} (is|stays) uncovered in {where}, although it (looks like|seems to belong to) {the}. A positive click"
    " (takes it in|brings it in).",
    "(Compared with|Set against) what I see of {the}, the mask falls short in {where}: {gap} is left out. I add a"
    " positive (point|click).",
    "I look along the mask's border. In {where} it (stops|ends) too early and (misses|leaves out) {gap}, which"
    " belongs to {the}. A positive click there.",
    "Something of {the} is (still|as yet) uncovered: {gap}, in {where}. A positive (point|click) there should"
    " (mend|help) that.",
    "What is (still missing|missing now) of {the} lies in {where}: {gap}. I (put|place) a positive (click|point)"
    " there.",
    "A positive (click|point) in {where} should (extend|grow) the mask over {gap}, which (belongs to|looks like)"
    " {the}.",
    "The mask is {mask}, and (too little|not enough) for {the}: {gap}, in {where}, (has to|must) be added. I click"
    " positively there.",
    "The largest (mistake|fault) that I see: {gap}, in {where}, isn't (covered|in the mask) though it belongs to"
    " {the}. I correct it with a positive (click|point).",
)

# A positive click on what is in the mask already.
HELD = (
    "In {where} the mask rightly covers {the}; a positive (click|point) (keeps|holds) it there.",
    "{Spill}, in {where}, is {the} (indeed|as asked). I (confirm|fix) it with a positive (click|point).",
    "What the mask holds in {where} belongs to {the}, and a positive (click|point) (makes that sure|says so to the"
    " tool).",
    "The mask is {mask}. In {where} it is right about {the}; I (anchor|hold) it with a positive (click|point).",
    "(To grow the mask safely|Before going on), I hold {the} in {where} with a positive (click|point) on {spill}.",
    "A positive (click|point) on {spill}, in {where}, (strengthens|confirms) the mask of {the}.",
    "{Spill}, in {where}, belongs to {the} (beyond doubt|for certain); a positive (click|point) gives the tool a firm"
    " hold.",
    "{The} should stay covered in {where}. I (put|place) a positive (click|point) on {spill}.",
)

SPILLED = (
    "The mask (spills|runs|leaks) over in {where}: {spill} lies outside of {the}. I (take it away|remove it) with a"
    " negative (point|click).",
    "(Too much is covered|The mask covers too much) in {where}. {Spill} doesn't belong to {the}, so a negative"
    " (click|point) goes there.",
    "{Spill}, in {where}, (covers|lies on) something else than {the}. A negative click (cuts it off|takes it out).",
    "(Compared with|Set against) what I see of {the}, the mask goes too far in {where}: {spill} is too much. I add a"
    " negative (point|click).",
    "I look along the mask's border. In {where} it (runs|reaches) beyond {the}: {spill} has to go. A negative click"
    " there.",
    "The mask is {mask}, and (more|larger) than {the}: {spill}, in {where}, is (wrong|spilled). I click negatively"
    " there.",
    "What the mask covers in {where} isn't {the}. I (put|place) a negative (click|point) on {spill}.",
    "A negative (click|point) in {where} should (pull|draw) the mask back from {spill}, which isn't {the}.",
    "Not all that is (marked|covered) is {the}: {spill}, in {where}, is spilled. A negative (click|point) (there|on"
    " it) should (mend|help) that.",
    "The largest (mistake|fault) that I see: {spill}, in {where}, (is in the mask|is covered) though it isn't {the}."
    " I correct it with a negative (click|point).",
)

# A negative click on what isn't in the mask.
KEPT_OUT = (
    "What lies in {where} isn't {the}; a negative (click|point) keeps the mask (out of it|away from it).",
    "{Gap}, in {where}, is rightly left out, as it isn't {the}. A negative (click|point) (keeps it so|holds that).",
    "The mask must not (grow|run) into {where}, which isn't {the}. I set a negative (click|point) there.",
    "(Before the mask spreads|To keep the mask in), I (bar|close) {where} with a negative (click|point): no part of"
    " {the} is there.",
    "A negative (click|point) in {where} tells the tool that {the} should not reach (so far|there).",
    "The mask is {mask}. It should stay out of {where}, which looks different from {the}, so I click negatively there.",
    "{Gap}, in {where}, looks different from {the}. I (exclude|rule out) it with a negative (click|point).",
    "(Beyond|Outside of) the mask, in {where}, I see something else than {the}; a negative (click|point) (marks|says)"
    " that.",
)

# A click that is to mend a mask, where there is none.
MISSED_EMPTY = (
    "The mask is still empty. {The} can be seen in {where}, so I (click|try) there.",
    "No mask has come of the clicks so far. I (try|click) again for {the}, in {where}.",
    "Nothing is covered (yet|so far), so {the} must be clicked (again|elsewhere): a positive (point|click) in {where}.",
    "(The tool needs another hint|Another hint is needed): what looks like {the} lies in {where}. I add a positive"
    " (click|point).",
    "All of {the} is still uncovered. I put a positive (click|point) in {where}, where (it looks right|the picture"
    " fits).",
    "There is (still no mask|no mask even now). For {the} I (place|set) a further positive (click|point) in {where}.",
    "The picture is still bare. A positive (click|point) in {where} should (bring|give) the tool nearer to {the}.",
    "The clicks so far made no mask of {the}. In {where} a positive (point|click) may (do better|help).",
)
KEPT_OUT_EMPTY = (
    "The mask is empty so far. It should stay out of {where}, which isn't {the}, so I click negatively there.",
    "What lies in {where} isn't {the}. A negative (click|point) tells the tool, before it makes a mask.",
    "No mask is there yet; a negative (click|point) in {where} keeps it (out of|away from) what isn't {the}.",
    "(To keep the coming mask in|Before a mask spreads), I bar {where} with a negative (click|point): no part of"
    " {the} is there.",
)

DONE = (
    "The mask (covers|follows) {the} (from edge to edge|to its borders). (Nothing is left to correct|I see nothing to"
    " correct).",
    "The mask, {mask}, fits {the}: (nothing is missed, nothing is spilled|neither a gap nor a spill can be seen). I"
    " stop here.",
    "I (look along|follow) the mask's border and it (agrees with|keeps to) the edge of {the}. (The work is done|I am"
    " done).",
    "{The} can be seen under the mask (as a whole|completely), and nothing else. (I end here|Time to end).",
    "(Now|By now) the mask is {mask} and matches what I see of {the}. Another click would not (help|make it better).",
    "(Checking once more|A last look): the border of the mask lies on the border of {the}. I (finish|terminate).",
    "All that I see of {the} is covered, and the (rest of the picture|surroundings) left free. (That is enough|I"
    " stop).",
    "No (gap|hole) and no (spill|overflow) (shows|can be seen) any more; the mask holds {the}. I (terminate|stop)"
    " here.",
    "The mask (does justice to|fits) {the}. What (still differs|may differ) is no more than a thin line at the"
    " border, so I stop.",
)

REVERT = (
    "The last click (went wrong|was a mistake): the mask, {mask}, lies on something else than {the}. I take it back.",
    "(That|This) isn't {the}. Since my last click the mask is {mask}, on another structure; I (undo|take back) that"
    " click.",
    "What the mask covers now doesn't look like {the}. I (go back|step back) to the mask before my last click.",
    "I (was wrong|erred): my last click drew the mask onto (another structure|something else), away from {the}. (Back"
    " to the state before|I take the click back).",
    "(Looking at the result|Seeing the result), I notice that the mask left {the}: it is {mask} now, and on the wrong"
    " thing. I take the last click back.",
    "The mask got worse (with|through) my last click and no longer (fits|follows) {the}. I (undo it|take it back).",
    "My last click missed {the}, as the mask shows, {mask}. It is better to (undo it|take it back) than to correct it.",
    "The new mask and {the} don't (agree|match): it (lies on|covers) something else. I (revert|take back) the last"
    " click.",
    "(This mask|The mask that came of it) would need more (corrections|mending) than a new start for {the}. I take my"
    " last click back.",
)

REVERT_EMPTY = (
    "My last click left no mask of {the} at all. I take it back.",
    "After the last click (nothing is covered|the mask is empty), so it (missed|can't have met) {the}. I"
    " (undo|revert) it.",
    "The tool made nothing of my last click; {the} must be marked (otherwise|elsewhere). I take it back.",
    "No mask came of (that|my last) click. To find {the} I (step|go) back first.",
    "(Nothing|No mask) is left after my last click. That (doesn't help|is no help) with {the}; I take it back.",
    "The picture carries no mask any more, so my last click was wrong for {the}. I (revert|undo) it.",
    "With the last click the mask of {the} (vanished|disappeared). I (go back|take the click back).",
    "An empty mask can't be {the}. I (take back|undo) the click that (led to it|made it so).",
)

DISCARD = (
    "The mask that (I was given|was there), {mask}, isn't {the}. I set it aside.",
    "(Somebody marked|What is marked is) something else than {the}: the given mask is {mask}. I (discard it|begin"
    " from nothing).",
    "I am asked for {the}, but the mask that I find lies on (another structure|something else). I set it aside.",
    "The given mask doesn't (fit|match) the sentence: it isn't {the}. Correcting it would (take longer|cost more)"
    " than a new start, so I discard it.",
    "Before I begin, the mask that is there has to go: it is {mask}, and not {the}.",
    "What the given mask covers doesn't look like {the}. I (drop|discard) it and (begin|start) from nothing.",
    "The sentence says {the}; the mask (shows|covers) something else, {mask}. I (set it aside|discard it).",
    "(This|The given) mask belongs to another (task|request), as it isn't {the}. I start (anew|afresh) without it.",
    "Nothing of this mask, {mask}, is of use for {the}. I (set it aside|discard it) and begin (anew|afresh).",
)

# What follows where a turn that goes back also clicks.
CLICK_TOO = (
    " Instead I (click|place a positive point) in {where}.",
    " A positive click in {where} (is better|fits better).",
    " {The} can rather be seen in {where}, so I click there.",
    " Then a positive (point|click) in {where}.",
)
BAR_TOO = (
    " A negative (point|click) in {where} keeps the mask out of it.",
    " Then a negative (point|click) in {where}.",
    " I bar {where} with a negative click.",
)

ABSENT = (
    "I (look through|search) the whole picture, and nothing in it looks like {the}. I click nowhere.",
    "{The} can't be seen (here|in this picture). A click would only mark something else, so I (say so|stop).",
    "The picture doesn't (show|contain) {the}, as far as I can see. (I leave it unmarked|I mark nothing).",
    "No (region|structure) in this picture (has the form and the place of|fits) {the}. I (end|stop) without a click.",
    "I am asked for {the}, but I (find|see) no sign of it in the picture. It is better to say so than to guess.",
    "(What I see|All that the picture shows) is something else than {the}. I don't (click|guess).",
    "(From corner to corner|From edge to edge) the picture shows nothing that could be {the}. I (answer|say) so.",
    "I can't (find|make out) {the} in this picture. (A mask of something else would mislead|To mark something else"
    " would be wrong).",
    "{The} should be (visible|easy to see) if the picture held anything of the kind, but nothing (is|shows). I mark"
    " nothing.",
)

# What a positive click adds: by how it lies to the mask; in the middle where it isn't on any side.
GAP = {
    Lie.HOLE: (
        "(what lies|the part) in a (hole|gap) of the mask's {side} part",
        "an uncovered spot (within|inside) the {side} part of the mask",
        "a spot that the mask leaves free in its {side} part",
    ),
    Lie.BESIDE: (
        "(what lies|a part) just beyond the mask's {side} edge",
        "(a strip|a stretch) along the outside of the mask's {side} edge",
        "(a part|something) right beside the mask's {side} edge",
    ),
    Lie.APART: (
        "a part (well|clearly) beyond the mask's {side} edge",
        "(a further part|another part) some way off the mask's {side} edge",
        "a part that the mask doesn't reach, beyond its {side} edge",
    ),
}
GAP_IN_THE_MIDDLE = {
    Lie.HOLE: ("(what lies|the part) in a (hole|gap) in the middle of the mask", "an uncovered spot inside the mask"),
    Lie.BESIDE: ("(what lies|the part) in a (notch|bay) of the mask", "(a strip|a stretch) between edges of the mask"),
    Lie.APART: ("the part in a wide (bay|gap) of the mask", "a part that the mask leaves free in its midst"),
}
SPILL = {
    Lie.EDGE: (
        "the mask's {side} edge",
        "(a strip|a stretch) along the mask's {side} edge",
        "the {side} border of the mask",
    ),
    Lie.ON: (
        "the mask's {side} part",
        "the {side} part of the mask",
        "a good part of the mask, on its {side} side",
    ),
}
SPILL_IN_THE_MIDDLE = {
    Lie.EDGE: ("a narrow part in the middle of the mask", "a thin bridge in the midst of the mask"),
    Lie.ON: ("the middle of the mask", "the mask's middle part"),
}
