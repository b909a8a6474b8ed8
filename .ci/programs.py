"""The programs of a page, for type checkers: python .ci/programs.py PAGE.md FOLDER"""

import re
import sys
from pathlib import Path

page, folder = map(Path, sys.argv[1:])
programs = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
if not programs:
    sys.exit(f"{page} has no program")
for number, program in enumerate(programs):
    (folder / f"{page.stem}_{number}.py").write_text(program, encoding="utf-8")
