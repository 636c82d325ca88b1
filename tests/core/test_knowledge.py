"""From sentences to targets: what is named is found, and nothing else is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ibisagent.core.knowledge import read_knowledge, resolve
from napari_ibisagent.core.target import Side, Target
from napari_ibisagent.io.resources import resource

TEXT = resource("knowledge/anatomy.toml").read_text(encoding="utf-8")
KNOWLEDGE = read_knowledge(TEXT)
BY_KEY = {structure.key: structure for structure in KNOWLEDGE}
NAMES = [(s.key, name) for s in KNOWLEDGE for name in (s.name, *s.synonyms)]


def found(prompt):
    """(key, side) of the target, or None; a sentence says why either way."""
    answer = resolve(prompt, KNOWLEDGE)
    assert answer.how.strip()
    if answer.target is None:
        assert answer.how.endswith(".")
        return None
    assert answer.structure is not None and answer.structure.key == answer.target.key
    return answer.target.key, answer.target.side.value


@pytest.mark.parametrize(("key", "name"), NAMES)
def test_every_name_of_every_structure(key, name):
    for prompt in (name, f"Segment the {name}.", f"please outline the {name} in this image", name.upper(), f"{name}?"):
        assert found(prompt) == (key, "both" if name == "hippocampi" else ""), prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "segment the kidney on the left of the image",
        "the picture's left kidney",
        "which organ does not make bile?",
        "which organ on the right doesn't filter blood?",
        "the left fat",
        "segment the left aorta",
        "segment the spine on the right side",
        "segment the thoracic aorta",
        "a liver segment",
        "everything except the liver",
    ],
)
def test_what_means_something_else_is_not_answered(prompt):
    assert found(prompt) is None


@pytest.mark.parametrize("structure", [s for s in KNOWLEDGE if s.paired], ids=lambda s: s.key)
@pytest.mark.parametrize("side", ["left", "right"])
def test_sides_of_paired_structures(structure, side):
    assert found(f"segment the {side} {structure.name}") == (structure.key, side)
    assert found(f"the {structure.name} on the {side}") == (structure.key, side)
    assert found(f"{side.upper()} {structure.name}") == (structure.key, side)
    several = structure.name[:-2] + "i" if structure.name.endswith("us") else structure.name + "s"
    assert found(f"both {several}") == (structure.key, "both")
    assert found(f"bilateral {several}") == (structure.key, "both")
    assert found(f"the left and right {structure.name}") == (structure.key, "both")


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("kidney", ("kidney", "")),
        ("segment the left kidney", ("kidney", "left")),
        ("the patient's left kidney", ("kidney", "left")),
        ("Left kidney, please", ("kidney", "left")),
        ("kidneys", ("kidney", "both")),
        ("the kidney", ("kidney", "")),
        ("show me both kidneys", ("kidney", "both")),
        ("right lungs", ("lung", "right")),
        ("the whole liver", ("liver", "")),
        ("outline of the liver", ("liver", "")),
        ("all of the liver", ("liver", "")),
        ("where is the spleen?", ("spleen", "")),
        ("Which one is the aorta?", ("aorta", "")),
        ("what is the liver", ("liver", "")),
        ("LIVER", ("liver", "")),
        ("  liver \n", ("liver", "")),
        ("oesophagus", ("esophagus", "")),
        ("the esophagus", ("esophagus", "")),
        ("gall bladder", ("gallbladder", "")),
        ("gallbladder", ("gallbladder", "")),
        ("bladder", ("urinary_bladder", "")),
        ("urinary bladder", ("urinary_bladder", "")),
        ("bones", ("bone", "")),
        ("the vertebral column", ("spine", "")),
        ("a tumour", ("lesion", "")),
        ("the tumor", ("lesion", "")),
        ("left ventricle", ("left_ventricle", "")),
        ("the left atrium", ("left_atrium", "")),
        ("left lateral ventricle", ("lateral_ventricle", "left")),
        ("the left spleen", ("spleen", "")),
        ("the spleen on the left", ("spleen", "")),
        ("the liver on the right side", ("liver", "")),
        ("segment the liver in this ct scan", ("liver", "")),
    ],
)
def test_prompts_that_name_their_target(prompt, wanted):
    assert found(prompt) == wanted


@pytest.mark.parametrize(
    ("prompt", "key"),
    [
        ("Which organ stores bile? Outline it.", "gallbladder"),
        ("Which organ makes bile?", "liver"),
        ("which organ produces insulin", "pancreas"),
        ("Which organs filter the blood into urine?", "kidney"),
        ("What stores urine?", "urinary_bladder"),
        ("Which organ in the upper left abdomen clears old red blood cells?", "spleen"),
        ("Which vessel carries oxygen-rich blood from the heart?", "aorta"),
        ("which bone surrounds the spinal cord?", "spine"),
        ("Where does gas exchange happen?", "lung"),
        ("What pumps the blood through the body?", "heart"),
        ("Which gland makes cortisol?", "adrenal_gland"),
        ("Which organ digests food with acid?", "stomach"),
        ("Which part of the bowel comes right after the stomach?", "duodenum"),
        ("Which chamber of the heart pumps blood into the aorta?", "left_ventricle"),
        ("Which large vein returns blood from the legs to the heart?", "inferior_vena_cava"),
    ],
)
def test_prompts_that_describe_their_target(prompt, key):
    answer = found(prompt)
    assert answer is not None and answer[0] == key


@pytest.mark.parametrize(
    "prompt",
    [
        "segment the liver tumor",
        "segment the liver tumour",
        "the tumour in the liver",
        "lesion of the left kidney",
        "liver lesions",
        "T12 vertebra",
        "segment the T12 vertebra",
        "the first lumbar vertebra",
        "upper lobe of the left lung",
        "left upper lobe of the lung",
        "left lobe of the liver",
        "kidneys but not the tumour",
        "liver and spleen",
        "the liver, the spleen and the aorta",
        "everything but the liver",
        "everything except the spleen",
        "not the liver",
        "the fat around the liver",
        "the artery next to the spleen",
        "below the liver",
        "aortic aneurysm",
        "aorta aneurysm",
        "renal cortex",
        "kidney stone",
        "kidney cyst",
        "bladder wall",
        "spinal canal",
        "bone marrow",
        "heart valve",
        "liver segment 4",
        "the liver segment",
        "the liver at level L2",
        "the spleen on the right",
        "the right spleen",
        "the left liver",
        "the left-sided liver",
        "liver metastases",
        "liver without its vessels",
        "half of the liver",
        "the enlarged spleen",
        "lung nodule in the right lung",
        "left third rib",
        "spleen or liver",
        "hepatic vein",
        "portal vein thrombus",
        "brain tumour",
        "subcutaneous fat",
        "left psoas muscle",
        "muscle of the left thigh",
        "Which organ is the best?",
        "which organ stores hope?",
        "what is this?",
        "the pipe organ",
        "asdfgh",
        "",
        "   ",
        "?",
        "the",
        "left",
        "12345",
        "肝臓",
        "Leber",
    ],
)
def test_what_is_not_understood_is_not_guessed(prompt):
    assert found(prompt) is None


def test_the_reason_is_a_sentence_that_quotes_the_user():
    assert "names more than one thing (liver and spleen)" in resolve("liver and spleen", KNOWLEDGE).how
    assert "there is none on the right" in resolve("the spleen on the right", KNOWLEDGE).how
    assert '"asdfgh"' in resolve("asdfgh", KNOWLEDGE).how
    assert len(resolve("x" * 5000, KNOWLEDGE).how) < 400


def test_the_coded_term_comes_along():
    target = resolve("segment the left kidney", KNOWLEDGE).target
    assert target == Target("kidney", "kidney", Side.LEFT, ("SCT", "64033007", "Kidney"))
    assert target.full_name == "left kidney"
    assert Target("kidney", side=Side.BOTH).full_name == "both kidneys"
    assert Target("liver").full_name == "liver"
    assert Target("hippocampus", side=Side.BOTH).full_name in ("both hippocampi", "both hippocampuses")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from(
            [*"the left right of in both not and which what liver kidneys tumour lobe stores bile T12 , . ? 's".split()]
        )
        | st.text(max_size=6),
        max_size=9,
    ).map(" ".join)
)
def test_any_sentence_is_answered(prompt):
    answer = resolve(prompt, KNOWLEDGE)
    assert answer == resolve(prompt, KNOWLEDGE) and answer.how


# -- the file ----------------------------------------------------------------------------------------------


def test_the_knowledge_base_is_in_order():
    assert len(KNOWLEDGE) > 30 and len(BY_KEY) == len(KNOWLEDGE)
    names = [name for _, name in NAMES]
    assert len(set(names)) == len(names)
    for structure in KNOWLEDGE:
        assert structure.name and structure.name == structure.name.lower()
        assert not (structure.paired and structure.side is not Side.NONE)
        if structure.code is not None:
            scheme, value, meaning = structure.code
            assert scheme == "SCT" and value.isdigit() and meaning
        assert (structure.hu is None) == (structure.volume_ml is None)
        for limits in (structure.hu, structure.volume_ml):
            assert limits is None or limits[0] < limits[1]
    codes = [s.code for s in KNOWLEDGE if s.code]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    "text",
    [
        '[[structure]]\nkey = "a"\nname = "a"\n[[structure]]\nkey = "a"\nname = "b"\n',
        '[[structure]]\nkey = "a"\nname = "a"\nside = "up"\n',
        "[[structure]\n",
    ],
)
def test_a_broken_knowledge_base_is_a_value_error(text):
    with pytest.raises(ValueError):
        read_knowledge(text)


@pytest.mark.parametrize(
    "text",
    [
        '[[structure]]\nname = "a"\n',
        '[[structure]]\nkey = "a"\nname = "a"\ncode = ["SCT"]\n',
        '[[structure]]\nkey = "a"\nname = "a"\n[structure.ct]\nhu = [1, 2]\n',
    ],
)
def test_a_missing_field_is_a_value_error_too(text):
    with pytest.raises(ValueError):
        read_knowledge(text)


@pytest.mark.parametrize("word", ["now", "here", "next", "after that", "away"])
def test_a_word_behind_the_name_takes_no_side_away(word):
    found = resolve(f"segment the left kidney {word}", KNOWLEDGE)
    assert found.target is None or found.target.side is Side.LEFT
    assert resolve("segment the left kidney now", KNOWLEDGE).target.side is Side.LEFT
