"""`python -m benchmarks.peers`: mlpfast compared with other installed libraries. See benchmarks/README.md."""

import argparse
import sys
from pathlib import Path

from mlpfast.datasets import load_mnist

from . import machine, neighbours, report, serving, sweep, threads, training
from .accuracy import time_to_accuracy
from .cases import CASES
from .contenders import makers
from .settings import Settings

SECTIONS = {  # in the order of the report
    "training": training.against_peers,
    "one thread": training.one_thread,
    "avx2": training.avx2,
    "float64": training.float64,
    "variants": training.variants,
    "shapes": training.shapes,
    "serving": serving.serving,
    "step call": serving.step_call,
    "accuracy": time_to_accuracy,
    "threads": threads.counts,
    "sharing": threads.sharing,
    "neighbours": neighbours.neighbours,
    "sweep": sweep.sweep,
}

# --quick: the sections that matter most to users.
QUICK_SECTIONS = ["training", "variants", "serving", "step call", "accuracy", "threads", "sweep"]
QUICK_CASES = [name for name in CASES if name != "wide"]  # ten steps of wide take longer than all others together


def parsed(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="within two minutes: few rounds, short epochs, no torch.compile; "
        f"unless asked for, not the case wide, and only the sections {', '.join(QUICK_SECTIONS)}")
    add("--only-mlpfast", action="store_true", help="no peers")
    add("--cases", type=some_of(CASES), metavar="A,B", help=f"of {', '.join(CASES)} (all)")
    add("--sections", type=some_of(SECTIONS), metavar="A,B", help=f"of {', '.join(SECTIONS)} (all)")
    add("--rounds", type=at_least_one, metavar="N", help="turns of each program (9; 2 with --quick)")
    add("--mnist", metavar="FOLDER", help="where the four files of MNIST are, for the section accuracy")
    add("--json", metavar="FILE", help="write everything that was measured; - is the standard output")
    add("--markdown", metavar="FILE", help="write the tables; - is the standard output")
    add("--plot", metavar="FILE.png", help="draw the bars of the training cases, and the sweep into sweep.png beside")
    add("--load", nargs="+", metavar="FILE", help="measure nothing; put together what --json has written")
    add("--list", action="store_true", help="name cases, sections and programs, and measure nothing")
    options = parser.parse_args(arguments)
    if options.json == "-" and options.markdown == "-":
        parser.error("--json and --markdown cannot both be -")
    if options.plot and not options.plot.endswith(".png"):
        parser.error(f"--plot must end in .png, got {options.plot!r}")
    check_files(parser, options)
    options.cases = options.cases or (QUICK_CASES if options.quick else list(CASES))
    options.sections = options.sections or (QUICK_SECTIONS if options.quick else list(SECTIONS))
    return options


def check_files(parser, options):
    """Errors for files that cannot be read or written, before measuring for twenty minutes."""
    for name in ("json", "markdown", "plot"):
        target = getattr(options, name)
        if target and target != "-" and not Path(target).resolve().parent.is_dir():
            parser.error(f"--{name}: there is no folder for {target!r}")
    for file in options.load or ():
        if not Path(file).is_file():
            parser.error(f"--load: there is no file {file!r}")
    if options.mnist:
        try:
            load_mnist(options.mnist)
        except (OSError, ValueError) as error:
            parser.error(f"--mnist: {error}")


def some_of(names):
    """An argument type: names of those, separated by commas."""

    def chosen(text):
        parts = [part.strip() for part in text.split(",")]
        for part in parts:
            if part not in names:
                raise argparse.ArgumentTypeError(f"{part!r} is none of {', '.join(names)}")
        return [name for name in names if name in parts]

    return chosen


def at_least_one(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number above 0, got {text!r}")
    return int(text)


def listing():
    notes = []
    lines = ["cases:", *(f"  {case.name}: {case.describe()}" for case in CASES.values())]
    lines += ["sections:", *(f"  {name}" for name in SECTIONS)]
    lines += ["programs:", *(f"  {maker.name}" for maker in makers(Settings(), notes))]
    lines += [f"  {note}" for note in notes]
    return "\n".join(lines)


def measured(options):
    """The sections, each printed as soon as it is measured."""
    settings = Settings(
        cases=[CASES[name] for name in options.cases],
        rounds=options.rounds or (2 if options.quick else 9),
        quick=options.quick,
        only_mlpfast=options.only_mlpfast,
        mnist=options.mnist,
    )
    out = sys.stderr if "-" in (options.json, options.markdown) else sys.stdout
    sections = []
    for name in options.sections:
        sections.append(SECTIONS[name](settings))
        print(report.text(sections[-1]), file=out, flush=True)
    return sections


def loaded(files):
    """The sections of several files, later ones replacing earlier ones of the same name; the machine of the last
    file."""
    sections = {}
    for file in files:
        found, where = report.from_json(Path(file).read_text(encoding="utf-8"))
        sections.update({section.name: section for section in found})
    return [sections[name] for name in SECTIONS if name in sections], where


def write(target, text):
    if target == "-":
        print(text)
    elif target:
        Path(target).write_text(text + "\n", encoding="utf-8")


def main(arguments=None):
    options = parsed(arguments)
    if options.list:
        print(listing())
        return
    sections, where = loaded(options.load) if options.load else (measured(options), machine.describe())
    write(options.json, report.to_json(sections, where))
    write(options.markdown, report.markdown(sections, where).rstrip("\n"))
    if options.plot:
        from . import plots  # here, since it needs matplotlib

        plots.draw(sections, Path(options.plot))


if __name__ == "__main__":
    main()
