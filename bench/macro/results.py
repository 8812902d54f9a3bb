"""Results as files: a table in Markdown, all samples in JSON, plots in SVG."""

import json
import os

from surroundings import ROOT


def table(heads, rows):
    """A Markdown table; a head that ends in ':' is of a column of figures."""
    lines = ["| " + " | ".join(head.rstrip(":") for head in heads) + " |",
             "| " + " | ".join("---:" if head.endswith(":") else "---" for head in heads) + " |"]
    for row in rows:
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |")
    return lines


def figure(value, digits=1):
    """A figure of a table; what was not measured is a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def write(folder, name, data, lines, plots=None):
    """Writes NAME.json, NAME.md and NAME-KEY.svg for each plot."""
    os.makedirs(folder, exist_ok=True)
    files = {f"{name}.json": json.dumps(data, indent=1) + "\n",
             f"{name}.md": "\n".join(lines) + "\n"}
    files.update({f"{name}-{key}.svg": plot for key, plot in (plots or {}).items()})
    for file_name, content in files.items():
        with open(os.path.join(folder, file_name), "w", encoding="utf-8") as file:
            file.write(content)


def save(folder, name, data, lines, plots=None):
    """Writes them, and prints the table."""
    write(folder, name, data, lines, plots)
    print("\n".join(lines))


def check_program(path):
    if not os.access(path, os.X_OK):
        raise SystemExit(f"no program at {path}: build it, or give --ringmx")
    return os.path.abspath(path)


def common_arguments(parser):
    parser.add_argument("--ringmx", default=os.path.join(ROOT, "build", "release", "ringmx"),
                        help="the program to measure; the others are looked for beside it")
    parser.add_argument("--results", default=os.path.join(ROOT, "bench", "results"),
                        help="folder for table, JSON and plots")
    parser.add_argument("--name", help="file name in that folder, without its ending")
    parser.add_argument("--scratch", help="folder for queues and logs of the run, on the disk to "
                        "measure (default: the system's for temporary files)")
