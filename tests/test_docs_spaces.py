"""What docs/spaces.md says of each space is what the space says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from searchspaces import SPACES, Task, classic, space_named
from searchspaces.strides import strides_left_out

PAGE = Path(__file__).parents[1] / "docs" / "spaces.md"
SMALL = Task.parse("32x32x3:10")
SECTIONS = {text.partition("\n")[0]: text for text in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]}


def test_every_space_has_a_section_in_the_order_they_are_listed():
    assert list(SECTIONS) == list(SPACES)


@pytest.mark.parametrize("name", SPACES)
def test_the_page_says_what_a_space_holds_and_what_small_images_leave_out(name):
    space, text = space_named(name), SECTIONS[name]
    assert f"- **holds** {space.size:,} architectures in {len(space.decisions)} decisions\n" in text
    left = strides_left_out(space, SMALL)
    said = f"the strides of {', '.join(left)} are left out" if left else "no stride is left out"
    assert f"- **on {SMALL}** {said}\n" in text
    assert len(re.findall(r"arXiv:\d{4}\.\d{5}", text)) >= (0 if name == "mixed" else 1)  # its papers


@pytest.mark.parametrize("name", SPACES)
def test_the_page_lists_every_member_with_its_costs(name):
    space, rows = space_named(name), []
    for member, architecture in space.references.items():
        task = classic(member).task
        cost, small = architecture.cost(task), architecture.cost(SMALL)
        rows.append(f"| `{member}` | {task} | {cost.macs:,} | {cost.params:,} | {small.macs:,} |")
    assert [line for line in SECTIONS[name].splitlines() if line.startswith("| `")] == rows
