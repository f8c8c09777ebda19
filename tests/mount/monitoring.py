"""Checks the alert rules and the dashboard in examples/ against metrics that a mount tells.

monitoring.py METRICS ALERTS DASHBOARD
    prints what is wrong, a line each, and exits with 1 if anything is
"""

import json
import re
import sys

import promql_parser
import yaml

# Metrics of node_exporter, which the alerts use beside ours.
OTHERS = {"node_textfile_mtime_seconds"}
# What a scrape or a collector adds.
ADDED_LABELS = {"instance", "job", "pod", "file"}
SAMPLE = re.compile(r'(\w+)\{(.*)\} \S+$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
SELECTOR = re.compile(r'\b((?:model_fs|node)_\w+)(?:\{([^}]*)\})?')
DURATION = re.compile(r'[0-9]+(ms|s|m|h|d)')

wrong = []


def samples(path):
    """Label values by label, by the name of the series."""
    found = {}
    with open(path) as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            name, labels = SAMPLE.match(line.rstrip()).groups()
            of = found.setdefault(name, {})
            for label, value in LABEL.findall(labels):
                of.setdefault(label, set()).add(value)
    return found


def expression(where, text, metrics):
    text = text.replace("$__rate_interval", "5m").replace("$mountpoint", ".*")
    try:
        promql_parser.parse(text)
    except Exception as error:
        wrong.append(f"{where}: {error}")
        return set()
    used = SELECTOR.findall(text)
    if not used:
        wrong.append(f"{where}: no metric in {text}")
    for name, matchers in used:
        if name in OTHERS:
            continue
        if name not in metrics:
            wrong.append(f"{where}: there is no metric {name}")
            continue
        for label, value in LABEL.findall(matchers):
            if label not in metrics[name]:
                wrong.append(f"{where}: {name} has no label {label}")
        for label, value in re.findall(r'(\w+)="([^"]*)"', matchers):
            if value not in metrics[name].get(label, ()):
                wrong.append(f"{where}: {name} has no {label}={value}")
    return {label for name, _ in used for label in metrics.get(name, ())}


def alerts(path, metrics):
    with open(path) as file:
        document = yaml.safe_load(file)
    seen = set()
    for group in document["groups"]:
        if set(group) != {"name", "rules"}:
            wrong.append(f"a group has {sorted(group)}")
        for rule in group["rules"]:
            name = rule.get("alert", "?")
            if name in seen:
                wrong.append(f"{name}: twice")
            seen.add(name)
            keys = set(rule) - {"for"}
            if keys != {"alert", "expr", "labels", "annotations"}:
                wrong.append(f"{name}: it has {sorted(keys)}")
                continue
            if not DURATION.fullmatch(rule.get("for", "1m")):
                wrong.append(f"{name}: for {rule['for']}")
            if rule["labels"].get("severity") not in {"critical", "warning", "info"}:
                wrong.append(f"{name}: no severity")
            labels = expression(name, rule["expr"], metrics) | ADDED_LABELS
            for key in ("summary", "description"):
                text = rule["annotations"][key]
                for label in re.findall(r"\$labels\.(\w+)", text):
                    if label not in labels:
                        wrong.append(f"{name}: {key} has a label {label}")
                if text.count("{{") != text.count("}}"):
                    wrong.append(f"{name}: {key} has an open brace")
    if not seen:
        wrong.append("no alerts")


def dashboard(path, metrics):
    with open(path) as file:
        document = json.load(file)
    for variable in document["templating"]["list"]:
        if variable["type"] == "query":
            metric = variable["definition"].split("(")[1].split(",")[0]
            expression(variable["name"], metric, metrics)
    ids, taken = set(), set()
    for panel in document["panels"]:
        title = panel["title"]
        if panel["id"] in ids or not title or not panel["description"]:
            wrong.append(f"panel {title}: no id, title or description of its own")
        ids.add(panel["id"])
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (x, y) in taken or x >= 24:
                    wrong.append(f"panel {title}: no room at {x}, {y}")
                taken.add((x, y))
        references = [target["refId"] for target in panel["targets"]]
        if len(set(references)) != len(references) or not references:
            wrong.append(f"panel {title}: targets {references}")
        for target in panel["targets"]:
            expression(title, target["expr"], metrics)


metrics = samples(sys.argv[1])
alerts(sys.argv[2], metrics)
dashboard(sys.argv[3], metrics)
print("\n".join(wrong))
sys.exit(1 if wrong else 0)
