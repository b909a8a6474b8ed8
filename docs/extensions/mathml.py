"""Formulas as MathML, which browsers draw themselves: no script from elsewhere, and none to ship.

The converter from TeX is that of docutils. A formula that it does not know is a warning.
"""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def markup(node, as_block):
    tex = node.astext()
    if as_block and "\\\\" in tex and "\\begin" not in tex:
        tex = f"\\begin{{align*}}{tex}\\end{{align*}}"
    try:
        return tex2mathml(tex, as_block=as_block)
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
