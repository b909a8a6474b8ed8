"""Formulas as MathML, which browsers draw themselves: no script from elsewhere, and none to ship.

The converter from TeX is that of docutils. A formula that it does not know is a warning.
"""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

# What docutils has under another name only.
SYNONYMS = {r"\dots": r"\ldots", r"\big": r"\bigl", r"\Big": r"\Bigl", r"\bigg": r"\biggl", r"\Bigg": r"\Biggl"}
SYNONYM = re.compile(r"\\(?:dots|[bB]igg?)(?![a-zA-Z])")

# An index below a hat belongs beside it.
HAT = re.compile(r"<munderover>(\s*<mi>\w</mi>)(\s*.*?)(\s*<mo stretchy=\"false\">ˆ</mo>)\s*</munderover>", re.S)
# Bars of a norm would grow with what stands beside them, such as a sum with its limits.
BARS = re.compile(r"<mo>(?=‖</mo>)")

logger = logging.getLogger(__name__)


def markup(node, as_block):
    tex = SYNONYM.sub(lambda found: SYNONYMS[found[0]], node.astext())
    if as_block and "\\\\" in tex and "\\begin" not in tex:
        tex = f"\\begin{{align*}}{tex}\\end{{align*}}"
    try:
        made = HAT.sub(r"<msub><mover>\1\3</mover>\2</msub>", tex2mathml(tex, as_block=as_block))
        return BARS.sub('<mo stretchy="false">', made)
    except MathError as error:
        logger.warning("formula: %s", error, location=node)
        return f"<code>{node.astext()}</code>"


def inline(translator, node):
    translator.body.append(markup(node, as_block=False))
    raise nodes.SkipNode


def block(translator, node):
    translator.body.append(f'<div class="formula">{markup(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True}
