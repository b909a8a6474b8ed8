"""Where lines may break: long names after a dot, an underscore or a bracket, and no formula before its comma."""

import re

from docutils import nodes

WORD = re.compile(r"(?<=>)[^<>]+(?=</span>)")
AFTER = re.compile(r"(?<=[^\W_][._=/])(?=[^\W_]|[({\[])|(?<=\w[(\[])(?=[\w({\[])|(?<=,)(?=\S)")
PUNCTUATION = re.compile(r"[,.;:)\]?!]")


def breakable(html):
    """The HTML of a literal with <wbr> in its words, of which a copy of the text has nothing."""
    return WORD.sub(lambda word: AFTER.sub("<wbr>", word[0]), html)


def literal(translator, node):
    start = len(translator.body)
    try:
        type(translator).visit_literal(translator, node)  # Sphinx's
    finally:
        translator.body[start:] = [breakable("".join(translator.body[start:]))]


def hold_punctuation(app, doctree, page):
    """A word joiner between a formula in a sentence and the punctuation that follows it."""
    for formula in list(doctree.findall(nodes.math)):
        after = formula.next_node(descend=False, siblings=True)
        if isinstance(after, nodes.Text) and PUNCTUATION.match(after):
            after.parent.replace(after, nodes.Text("\u2060" + after))


def setup(app):
    app.add_node(nodes.literal, override=True, html=(literal, None))
    app.connect("doctree-resolved", hold_punctuation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
