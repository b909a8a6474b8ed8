"""Where lines may break: long names after a dot, an underscore or a bracket, and no formula before its comma."""

import re

from docutils import nodes

WORD = re.compile(r"(?<=>)[^<>]+(?=</span>)")
AFTER = re.compile(r"(?<=[^\W_][._=/])(?=[^\W_]|[({\[])|(?<=\w[(\[])(?=[\w({\[])|(?<=,)(?=\S)")
PUNCTUATION = re.compile(r"[,.;:)\]?!]+")


def breakable(html):
    """The HTML of a literal with <wbr> in its words, of which a copy of the text has nothing."""
    return WORD.sub(lambda word: AFTER.sub("<wbr>", word[0]), html)


def visit(translator, node):
    node.start = len(translator.body)
    type(translator).visit_literal(translator, node)  # Sphinx's


def depart(translator, node):
    type(translator).depart_literal(translator, node)
    translator.body[node.start :] = [breakable("".join(translator.body[node.start :]))]


def hold_punctuation(app, doctree, page):
    """A formula in a sentence and the punctuation after it are one piece (static/site.css)."""
    for formula in list(doctree.findall(nodes.math)):
        after = formula.next_node(descend=False, siblings=True)
        found = isinstance(after, nodes.Text) and PUNCTUATION.match(after)
        if found:
            whole = nodes.inline(classes=["whole"])
            formula.replace_self(whole)
            whole += [formula, nodes.Text(found[0])]
            after.parent.replace(after, nodes.Text(after[found.end() :]))


def setup(app):
    app.add_node(nodes.literal, override=True, html=(visit, depart))
    app.connect("doctree-resolved", hold_punctuation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
