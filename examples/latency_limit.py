# Search under a limit on latency: what each option costs on this machine is measured once, and
# architectures whose sum exceeds the limit are against the rules of the space, for any strategy.
import numpy as np
from own_space import Small

import nastk
from nastk.metrics.latency import LatencyProtocol, measure_latency
from nastk.nn.choice import build_derived

IMAGE = (1, 16, 16)


def milliseconds(generator):
    """Return the median time of one image on one CPU thread."""
    protocol = LatencyProtocol(threads=1, repeats=30)
    return measure_latency(generator, Small.input.shape, "cpu", protocol)["latency_p50_ms"].value


def measured():
    """Return the time of a plain architecture, and what each other option adds to it."""
    space = Small()
    space.task = nastk.Task(image=IMAGE)
    plain = {d.name: d.options[0] for d in space.decisions}
    base = milliseconds(build_derived(space, "generator", plain))
    extra = {}
    for decision in space.decisions:
        for option in decision.options[1:] if decision.role == "generator" else ():
            network = build_derived(space, "generator", {**plain, decision.name: option})
            extra[f"{decision.name}={option}"] = max(0.0, milliseconds(network) - base)
    return base, extra


class Limited(Small):
    """The same space, without what would be too slow."""

    name = "small-limited"

    def __init__(self, base, extra, limit):
        self.settings = {"base": base, "extra": extra, "limit": limit}  # kept with the run

    def predicted(self, choices):
        extra = self.settings["extra"]
        return self.settings["base"] + sum(extra.get(f"{d}={o}", 0) for d, o in choices.items())

    def problems(self, choices):
        late = self.predicted(choices) - self.settings["limit"]
        return [f"{late:.3f} ms over the limit"] if late > 0 else []


if __name__ == "__main__":
    base, extra = measured()
    limit = base + float(np.median(list(extra.values())))  # the plain one always fits
    space = Limited(base, extra, limit)
    run = nastk.search(
        space, "random", "digits", budget="60 steps", strategy__steps=20, final__steps=40,
        evaluator__samples=100, evaluator__extractor="random-cnn", final__samples=200,
    )  # fmt: skip
    found = milliseconds(run.networks().generator())
    print(f"limit {limit:.3f} ms, predicted {space.predicted(run.architecture.choices):.3f} ms, "
          f"measured {found:.3f} ms: {dict(run.architecture.choices)}")  # fmt: skip
