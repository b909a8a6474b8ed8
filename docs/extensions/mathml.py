"""Formulas as MathML, which browsers draw themselves: no script from elsewhere, and none to ship.

The converter from TeX is latex2mathml. A command that it does not know is a warning.
"""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

logger = logging.getLogger(__name__)


def markup(node, display):
    made = convert(node.astext().replace("{aligned}", "{align*}"), display=display)
    if unknown := re.search(r">(\\\w+)|>&(?:amp;)?<", made):  # it goes through as text
        logger.warning("formula: latex2mathml does not know %s", unknown[1] or "&", location=node)
    return made


def inline(translator, node):
    translator.body.append(markup(node, "inline"))
    raise nodes.SkipNode


def block(translator, node):
    translator.body.append(f'<div class="formula">{markup(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True}
