"""A drawing of a computational graph: plots.graph.

Columns from left to right, one for each operation on the longest way to the output, after Sugiyama, Tagawa and Toda
(1981): an edge across several columns has a point in each of them. After a node comes a stretch of its wire with its
value above and its gradient below. What is too wide for a row goes on in the next one.

All lengths are inches, in which figures are measured, y downwards until it is drawn.
"""

import functools
import re

from .graph import node_lines

NAME, TEXT, NUMBER, LISTING = 11.0, 7.5, 8.0, 9.0  # font sizes in points
LINE = 1.35 / 72  # height of a line for each point of its size
GAP = 0.16  # between neighbours in a column
BEND = 0.42  # between a wire's stretch and the next column, where edges bend
ARROW = 0.1  # the straight end of an edge
MARGIN = 0.15
SWEEPS = 100  # over the columns, until heights have settled
WIDEST = 14.0  # of a row
FAR = 3  # in a graph of several rows, edges across more columns are not drawn: the name stands at their end
LISTED = 4  # of more names only the first and the last
VALUE, GRADIENT, FRAME, FILL, WIRE, FAINT = "#1a7f37", "#c62828", "#4a5a6a", "#eef3f8", "#8a97a3", "#6a7680"


class Slot:
    """What has a place of its own in a column: a node, a point of an edge, or the names of nodes that are far away."""

    def __init__(self, node=None, lines=(), above="", below="", framed=False):
        self.node, self.lines, self.above, self.below, self.framed = node, lines, above, below, framed
        self.column = self.key = 0
        self.y = 0.0
        self.before: list = []  # slots in the column to the left that an edge comes from
        self.after: list = []

    @property
    def width(self):
        return max((text_width(text, size) for text, size in self.lines), default=0.0) + (0.16 if self.lines else 0)

    @property
    def height(self):
        lines = sum(size * LINE for _, size in self.lines) + (0.1 if self.lines else 0)
        numbers = 2 * (NUMBER * LINE + 0.03) if self.above or self.below else 0
        return max(lines, numbers, 0.12)

    @property
    def number_width(self):
        return max((text_width(text, NUMBER) for text in (self.above, self.below) if text), default=0.0)


@functools.lru_cache(10_000)
def text_width(text, size):
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    is_math = text.startswith("$") and text.endswith("$")
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), is_math)[0] / 72


def as_math(name):
    """W_12 with its index below the line; other names as they are."""
    found = re.fullmatch(r"([A-Za-z]|alpha)(?:_(\w+))?", name)
    if not found:
        return name.replace("$", r"\$")
    letter = r"\alpha" if found[1] == "alpha" else found[1]
    return f"${letter}$" if found[2] is None else f"${letter}_{{{found[2]}}}$".replace("_{_", "_{")


# ---- Layout


class Layout:
    """Slots with columns, rows and places. wires: (slots of one edge from left to right)."""

    def __init__(self, graph, values, gradients):
        self.graph, self.values, self.gradients = graph, values, gradients
        self.used = {each for node in graph.nodes for each in node.inputs}
        column = _columns(graph)
        self.n_columns = 1 + max(column.values())
        self.slots = {node: self._slot(node) for node in graph.nodes}
        for node, slot in self.slots.items():
            slot.column = column[node]
        self.all = list(self.slots.values())
        for far in (None, FAR):  # first as if there was no limit to the width
            self.all, self.far = list(self.slots.values()), far
            self._connect()
            self._measure()
            self.rows = self._cut()
            if len(self.rows) == 1:
                break
        self._place()

    def _slot(self, node):
        texts = node_lines(node)
        title = as_math(texts[0])
        lines = [(title, NAME), *((text.replace("$", r"\$"), TEXT) for text in texts[1:])]
        show = self.graph.shown
        return Slot(node, lines, show(node.value) if self.values else "", show(node.gradient) if self.gradients else "",
                    node.operation is not None)

    def _connect(self):
        """Edges, their points in the columns between, and the order in the columns: that of a walk from the output."""
        for slot in self.all:
            slot.before, slot.after, slot.key = [], [], -1
        self.wires, self.loose, number = [], {}, 0
        stack = [(self.slots[node], None) for node in reversed(self._ends())]
        while stack:
            slot, into = stack.pop()
            number += 1
            if into is not None:
                self._wire(slot, into, number)
            if slot.key < 0:
                slot.key = number
                near, far = self._inputs(slot)
                stack += [(each, slot) for each in reversed(near)]
                if far:
                    self._name_far(far, slot)

    def _ends(self):
        return [node for node in reversed(self.graph.nodes) if node not in self.used]

    def _inputs(self, slot):
        inputs = dict.fromkeys(self.slots[each] for each in slot.node.inputs if not each.is_constant)
        far = [each for each in inputs if self.far is not None and slot.column - each.column > self.far]
        if far:
            far = [each for each in inputs if each in far or not each.framed and slot.column - each.column > 1]
        return [each for each in inputs if each not in far], far

    def _name_far(self, far, slot):
        names = [as_math(each.node.name) for each in far]
        if len(names) > LISTED:
            names = [f"{names[0]}, ..., {names[-1]}"]
        stand_in = Slot(lines=[(", ".join(names), LISTING)])
        stand_in.column, stand_in.key = slot.column - 1, slot.key + 0.5
        self.all.append(stand_in)
        self._join([stand_in, slot])

    def _wire(self, slot, into, number):
        points = []
        for column in range(slot.column + 1, into.column):
            point = Slot()
            point.column, point.key = column, number
            points.append(point)
        self.all += points
        self._join([slot, *points, into])

    def _join(self, wire):
        self.wires.append(wire)
        for left, right in zip(wire, wire[1:], strict=False):
            left.after.append(right)
            right.before.append(left)

    def _measure(self):
        """Widths of the columns: of the nodes, and of the stretch of wire after them."""
        self.columns: list[list[Slot]] = [[] for _ in range(self.n_columns)]
        for slot in self.all:
            self.columns[slot.column].append(slot)
        for column in self.columns:
            column.sort(key=lambda slot: slot.key)
        self.node_width = [max(slot.width for slot in column) for column in self.columns]
        self.stretch = [max(slot.number_width for slot in column) + 0.12 for column in self.columns]

    def _cut(self):
        """The columns of each row. A row ends where the fewest edges go on, within its last columns."""
        widths = [w + s + BEND for w, s in zip(self.node_width, self.stretch, strict=True)]
        rows, first = [], 0
        while first < self.n_columns:
            last, width = first, widths[first]
            while last + 1 < self.n_columns and width + widths[last + 1] <= WIDEST - 2 * MARGIN - 2 * BEND:
                last += 1
                width += widths[last]
            if last + 1 < self.n_columns:
                choices = range(max(first, last - 2), last + 1)
                last = min(choices, key=lambda column: (self._crossing(column), -column))
            rows.append(range(first, last + 1))
            first = last + 1
        return rows

    def _crossing(self, column):
        return sum(len(slot.after) for slot in self.columns[column])

    def _place(self):
        self.x = [0.0] * self.n_columns
        self.width = 0.0
        top = MARGIN
        for row in self.rows:
            x = MARGIN + (BEND * 1.6 if row.start else 0)
            for column in row:
                self.x[column] = x
                x += self.node_width[column] + self.stretch[column] + BEND
            self.width = max(self.width, x - BEND + (BEND if row.stop < self.n_columns else 0) + MARGIN)
            self._place_row([self.columns[column] for column in row])
            slots = [slot for column in row for slot in self.columns[column]]
            shift = top - min(slot.y - slot.height / 2 for slot in slots)
            for slot in slots:
                slot.y += shift
            top = max(slot.y + slot.height / 2 for slot in slots) + 2 * GAP
        self.height = top - 2 * GAP + MARGIN

    @staticmethod
    def _place_row(columns):
        for column in columns:
            _spread(column, [0.0] * len(column))
        inside = {slot for column in columns for slot in column}
        for sweep in range(SWEEPS):
            for column in columns[::-1] if sweep % 2 == 0 else columns:
                wishes = [_wish(slot, inside) for slot in column]
                _spread(column, wishes)


def _columns(graph):
    """{node: column}: as close to what uses it as possible."""
    to_end = dict.fromkeys(graph.nodes, 0)
    for node in reversed(graph.nodes):
        for each in node.inputs:
            if not each.is_constant:
                to_end[each] = max(to_end[each], to_end[node] + 1)
    longest = max(to_end.values())
    column = {node: longest - distance for node, distance in to_end.items()}
    for node in reversed(graph.nodes):  # variables beside the first operation that uses them: others have longer edges
        users = [column[other] for other in graph.nodes if node in other.inputs] if node.operation is None else []
        if users:
            column[node] = min(users) - 1
    return column


def _wish(slot, inside):
    """The height at which its edges bend least. Beside an operation only other operations count, and along an edge its
    next points most, so that what is computed and long edges are straight."""
    others = [other for other in slot.before + slot.after if other in inside]
    if slot.framed:
        others = [other for other in others if other.framed] or others
    pairs = [(other.y, 1.0 if slot.lines or other.lines else 4.0) for other in others]
    return sum(y * weight for y, weight in pairs) / sum(weight for _, weight in pairs) if pairs else slot.y


def _spread(column, wishes):
    """y of the slots of a column, in their order and apart, as near to the wishes as possible: least squares, with more
    weight on operations, by pooling adjacent violators."""
    offsets = [0.0]
    for above, below in zip(column, column[1:], strict=False):
        offsets.append(offsets[-1] + (above.height + below.height) / 2 + GAP)
    pools: list = []  # [weighted sum, weight, number of slots]
    for slot, wish, offset in zip(column, wishes, offsets, strict=True):
        weight = 1000.0 if slot.framed else 1.0
        pools.append([weight * (wish - offset), weight, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            last = pools.pop()
            pools[-1] = [mine + more for mine, more in zip(pools[-1], last, strict=True)]
    levels = [total / weight for total, weight, count in pools for _ in range(count)]
    for slot, level, offset in zip(column, levels, offsets, strict=True):
        slot.y = level + offset


# ---- Drawing


def draw(layout, ax, direction):
    """Into ax, whose limits become the layout's size."""
    ax.set(xlim=(0, layout.width), ylim=(layout.height, 0), aspect="equal")
    ax.axis("off")
    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    scale = min(1.0, box.width / layout.width, box.height / layout.height)
    for wire in layout.wires:
        _draw_wire(ax, layout, wire, scale, direction)
    for slot in layout.all:
        if slot.lines:
            _draw_node(ax, layout, slot, scale)
    for slot in layout.slots.values():
        _draw_numbers(ax, layout, slot, scale)


def _middle(layout, slot):
    return layout.x[slot.column] + layout.node_width[slot.column] / 2


def _end_of_stretch(layout, slot):
    return layout.x[slot.column] + layout.node_width[slot.column] + layout.stretch[slot.column]


def _draw_node(ax, layout, slot, scale):
    from matplotlib.patches import FancyBboxPatch

    x, heights = _middle(layout, slot), [size * LINE for _, size in slot.lines]
    if slot.framed:
        w, h = slot.width, slot.height if not (slot.above or slot.below) else max(sum(heights) + 0.1, 0.3)
        ax.add_patch(FancyBboxPatch((x - w / 2, slot.y - h / 2), w, h, boxstyle="round,pad=0,rounding_size=0.08",
                                    facecolor=FILL, edgecolor=FRAME, linewidth=scale, zorder=2))
    y = slot.y - sum(heights) / 2
    for (text, size), height in zip(slot.lines, heights, strict=True):
        ax.text(x, y + height / 2, text, size=size * scale, ha="center", va="center_baseline",
                color="black" if size == NAME else FAINT, zorder=3)
        y += height


def _draw_numbers(ax, layout, slot, scale):
    if not (slot.above or slot.below):
        return
    end = _end_of_stretch(layout, slot)
    if slot.node not in layout.used:  # where nothing goes on, the wire alone
        ax.plot([_middle(layout, slot) + slot.width / 2, end], [slot.y, slot.y], color=WIRE, linewidth=scale, zorder=1)
    left = layout.x[slot.column] + layout.node_width[slot.column]
    for text, colour, dy, side in ((slot.above, VALUE, -0.03, "bottom"), (slot.below, GRADIENT, 0.03, "top")):
        if text:
            x, y = (left + end) / 2, slot.y + dy
            ax.text(x, y, text, size=NUMBER * scale, color=colour, ha="center", va=side, zorder=3)


def _draw_wire(ax, layout, wire, scale, direction):
    row_of = {column: number for number, row in enumerate(layout.rows) for column in row}
    pieces, piece = [], [wire[0]]
    for left, right in zip(wire, wire[1:], strict=False):
        if row_of[left.column] != row_of[right.column]:
            pieces.append((piece, "goes on"))
            piece = [None]
        piece.append(right)
    pieces.append((piece, "ends"))
    for piece, how in pieces:
        _draw_piece(ax, layout, piece, how == "ends", wire[0], scale, direction)


def _draw_piece(ax, layout, piece, ends, source, scale, direction):
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    codes, points = [Path.MOVETO], []
    if piece[0] is None:  # comes from the row above
        first = piece[1]
        x = layout.x[first.column] - 1.1 * BEND
        points.append((x, first.y))
        name = as_math(source.node.name) if source.node else source.lines[0][0]
        ax.text(x - 0.04, first.y, name, size=LISTING * scale, color=FAINT, ha="right", va="center_baseline", zorder=3)
    else:
        first = piece[0]
        points.append((_middle(layout, first) + first.width / 2, first.y))
    for slot in piece[1:]:
        if piece[0] is not None or slot is not piece[1]:
            previous = points[-1]
            start = _end_of_stretch(layout, piece[piece.index(slot) - 1])
            left = layout.x[slot.column]
            end = left - ARROW if slot.lines else left
            middle = (start + end) / 2
            points += [(start, previous[1]), (middle, previous[1]), (middle, slot.y), (end, slot.y)]
            codes += [Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
        if slot.lines:
            points.append((_middle(layout, slot) - slot.width / 2, slot.y))
        else:
            points.append((_end_of_stretch(layout, slot), slot.y))
        codes.append(Path.LINETO)
    if not ends:  # goes on in the row below
        points.append((_end_of_stretch(layout, piece[-1]) + 0.8 * BEND, points[-1][1]))
        codes.append(Path.LINETO)
    style, colour = "-|>", WIRE
    if direction == "backward":  # nothing flows down to where no gradient is computed, such as y
        lost = source.node is not None and source.node.gradient is None and layout.graph.output.gradient is not None
        style, colour = ("-", WIRE) if lost else ("<|-", GRADIENT)
    ax.add_patch(FancyArrowPatch(path=Path(points, codes), arrowstyle=style, mutation_scale=8 * scale, color=colour,
                                 linewidth=scale, zorder=1, shrinkA=0, shrinkB=0))
