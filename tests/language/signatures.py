"""What tf_signatures.txt says (see make_tf_signatures.py)."""

from pathlib import Path


def reference():
    """Symbol -> its parameters as TensorFlow writes them, or None for what is no function or class."""
    for line in Path(__file__).with_name("tf_signatures.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, bracket, inside = line.partition("(")
        yield name.removesuffix(": module"), split(inside[:-1]) if bracket else None


def split(text):
    """The parts between the commas that stand in no bracket or string."""
    parts, depth, quoted = [""], 0, False
    for c in text:
        quoted ^= c == "'"
        depth += 0 if quoted else (c in "([{<") - (c in ")]}>")
        if c == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += c
    return [p.strip() for p in parts if p.strip()]
