"""The page for those who connect an agent lists every code that an agent may be told."""

import re
from pathlib import Path

from paybill.gateway import answers

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "connect-an-agent.md"


def test_every_code_is_on_the_page():
    codes = {one.code for one in vars(answers).values() if isinstance(one, answers.Problem)}
    assert codes == set(re.findall(r"^\| `([A-Z]\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
