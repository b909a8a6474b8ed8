"""Code in a sentence that names an object of Python is a link to its description: `Trainer.fit`, `SGD(lr=0.1)`; and one
that names an example, `examples/xor.py`, to its page of the gallery.

Names are those of the API pages, with or without the modules in front of them, if only one object has that name; and
with their modules those of other libraries, as the inventories of intersphinx know them.
"""

import re

from docutils import nodes
from sphinx.ext.intersphinx import InventoryAdapter

CALL = re.compile(r"([A-Za-z_][\w.]*)(?:\(.*\))?", re.S)
EXAMPLE = re.compile(r"(?:python )?examples/(\w+)\.py(?: .*)?")
SHORT = {"np": "numpy", "nn": "torch.nn"}
LONG = 28  # letters of a word that a table on a telephone has no room for


def by_name(env):
    """{name: (page, anchor, full name)}; of every name also its ends, None where there are several."""
    found = {}
    for full, entry in env.domains["py"].objects.items():
        if entry.aliased:  # by the private module that defines it
            continue
        parts = full.split(".")
        for start in range(len(parts)):
            name = ".".join(parts[start:])
            found[name] = (entry.docname, entry.node_id, full) if name not in found or start == 0 else None
    return found


def looks_like_a_name(name):
    """Of one word only classes, such as `Trainer`: `fit` or `data` may mean anything."""
    return "." in name or (name[0].isupper() and not name.isupper()) or name in ("SGD", "LBFGS")


def destination(code, page, objects, others, app):
    """The attributes of a link, or None."""
    if example := EXAMPLE.fullmatch(code):
        to = f"gallery/{example[1]}"
        known = to in app.env.all_docs
        return {"internal": True, "refuri": app.builder.get_relative_uri(page, to)} if known else None
    found = CALL.fullmatch(code)
    if not found or not looks_like_a_name(found[1]):
        return None
    if entry := objects.get(found[1]):
        to, anchor, title = entry
        uri = app.builder.get_relative_uri(page, to) if to != page else ""
        return {"internal": True, "refuri": f"{uri}#{anchor}", "reftitle": title}
    first, *rest = found[1].split(".")
    name = ".".join([SHORT.get(first, first), *rest])
    items = [kind[name] for kind in others.values() if name in kind]
    return {"internal": False, "refuri": items[0].uri, "reftitle": name} if items else None


def link(app, doctree, page):
    objects, others = by_name(app.env), InventoryAdapter(app.env).main_inventory
    for node in list(doctree.findall(nodes.literal)):
        if max(map(len, node.astext().split()), default=0) > LONG:
            node["classes"].append("long")
        if isinstance(node.parent, (nodes.reference, nodes.title)):
            continue
        if to := destination(node.astext(), page, objects, others, app):
            reference = nodes.reference("", "", **to)
            node.replace_self(reference)
            reference += node


def setup(app):
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
