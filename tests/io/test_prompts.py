"""Templates of a checkpoint's own, and files that aren't any."""

from __future__ import annotations

import pytest

from napari_ibisagent.core.errors import BackendError, InputError
from napari_ibisagent.io.prompts import read_templates


def test_a_checkpoints_own_file_replaces_what_it_names(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('system = ""\nfirst = """\nFind $prompt\n"""\n', "utf-8")
    ours, own = read_templates("ibis"), read_templates("ibis", path)
    assert (own.system, own.first, own.refine) == ("", "Find $prompt", ours.refine)


@pytest.mark.parametrize(
    ("content", "said"),
    [("system = 5", "isn't text"), ("sytem = 'x'", "unknown template sytem"), ("system = ", "can't be read")],
)
def test_a_file_that_isnt_one_is_named(tmp_path, content, said):
    path = tmp_path / "own.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=said):
        read_templates("ibis", path)
    with pytest.raises(InputError, match="can't be read"):
        read_templates("ibis", tmp_path / "none.toml")
    with pytest.raises(BackendError, match="missing"):
        read_templates("klingon")
