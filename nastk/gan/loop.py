"""``GanTraining``: the one adversarial training loop, stepwise, with all of its state in the open.

One step: the plan's path callback; ``n_critic`` turns of D, each one joint update or a real and
then a fake one; one update of G with D frozen; the average of G. Nothing inside a step waits for
the device.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from attrs import evolve
from torch import Tensor

from nastk.errors import PairError, ShapeError
from nastk.gan.bill import Bill
from nastk.gan.ddp import ranked
from nastk.gan.device import compiled, short_products
from nastk.gan.draws import make_batches
from nastk.gan.inputs import Drawn, make_inputs
from nastk.gan.modes import Modes, gradients, trained
from nastk.gan.optimisers import adam, load_optimiser_state, make_average, optimiser_state
from nastk.gan.parts import Parts
from nastk.gan.record import Values, means
from nastk.gan.setting import Setting, own_objective
from nastk.gan.turn import HalvedTurn, Shown, wants_halves
from nastk.gan.watch import Bank, Watch
from nastk.nn.choice import Network
from nastk.nn.snapshot import copied
from nastk.objective import Exchange, Scores, as_scores
from nastk.randomness import Randomness
from nastk.records import Budget, Cost, Role
from nastk.trainer import Pair, Plan, Progress, Training


class GanTraining(Training):
    """One pair in training.

    Streams of ``randomness``: ``data``, ``latent`` or ``mask``, and the scope ``train`` for
    whatever draws from torch's global generator (dropout, gradient penalties). Networks' modes,
    gradients and gradient flags are as before outside of :meth:`advance`.

    Attributes:
        pair: the live networks, updated in place.
        cost: everything spent so far; a backward pass counts as two forward ones.
    """

    def __init__(self, pair: Pair, plan: Plan, randomness: Randomness, setting: Setting) -> None:
        self.pair = pair
        self.cost = Cost()
        self._randomness = randomness
        self._config = setting.config
        self._split = setting.split
        self._labelled = setting.labelled
        self._device = setting.device
        self._passes = setting.passes
        self._measured = setting.measured
        self._objective = own_objective(setting.objective, setting.device)
        if not self._objective.adversarial:
            plan = evolve(plan, train_generator=False, ema=False)
        self._ranks = ranked(self._config, self._objective, pair, plan)
        self._plan = plan = self._ranks.plan
        if self._config.d_update == "separate" and not self._objective.separable:
            raise PairError(
                f"objective '{self._objective.name}' needs real and fake in one update, "
                "trainer.d_update is 'separate'",
                "set trainer.d_update=joint",
            )
        self._halved = wants_halves(plan, self._config.batch_size)
        channels, height, width = self._split.images.shape[1:]
        self._image = (channels, height, width)
        self._inputs = make_inputs(pair.space.input, self._image, self._config, randomness)
        self._g = trained(pair.generator, plan.trainable) if plan.train_generator else {}
        self._d = trained(pair.discriminator, None) if plan.train_discriminator else {}
        self._g_adam = (
            adam(self._g, self._config.g_lr, self._config) if plan.train_generator else None
        )
        self._d_adam = (
            adam(self._d, self._config.d_lr, self._config) if plan.train_discriminator else None
        )
        self._g_modes = Modes(pair.generator, plan.trainable)
        self._d_modes = Modes(pair.discriminator, None)
        self._average = make_average(self._g, plan.ema, self._config)
        self.averaged = self._average is not None
        self._parts = Parts(pair, self._objective, self._config.micro_batch, self._plan.before_pass)
        self._run_g = compiled(pair.generator, self._config.compile)
        self._run_d = compiled(pair.discriminator, self._config.compile)
        self._batches = make_batches(setting, randomness)
        self._watch = Watch(setting.health, setting.device, self._ranks)
        self._bill = Bill(pair.generator, pair.discriminator, self._image)
        self._bank: Bank | None = None

    # -- the loop ------------------------------------------------------------------------------

    def advance(self, budget: Budget) -> Progress:
        """Train for ``budget`` more; whole steps, so other units may be overshot by one.

        Raises:
            TrialError: a loss, weight or image is not finite (``diverged``), or the health policy
                gave the pair up (``collapsed``). The cost is entered nevertheless.
        """
        before, began = self.cost, time.perf_counter()
        values: Values = {}
        try:
            with (
                self._ranks.at_work(self, budget),
                self._armed(),
                self._randomness.scoped("train"),
            ):
                while not self._reached(budget, before, began):
                    self._step()
                    if self.cost.steps % self._config.health_every == 0:
                        self._watch.read(self.cost.steps, values)
                        self._look()
                self._watch.read(self.cost.steps, values)
        finally:
            self.cost = self.cost + Cost(seconds=time.perf_counter() - began)
        return Progress(self.cost - before, means(values), dict(self._watch.values))

    def _reached(self, budget: Budget, before: Cost, began: float) -> bool:
        if budget.unit == "seconds":
            spent_seconds = self._ranks.agreed([time.perf_counter() - began])[0]
            return spent_seconds >= budget.amount
        spent: int = getattr(self.cost, budget.unit) - getattr(before, budget.unit)
        return spent >= budget.amount

    def _step(self) -> None:
        plan, config = self._plan, self._config
        shown_images = 0
        self._ranks.begin_step(self._randomness.seed, self.cost.steps)
        if self.cost.steps % config.health_every == 0:
            self._tell_passes()
        if plan.path is not None:
            plan.path(self.cost.steps)
        self._set_learning_rates()
        for _ in range((plan.n_critic or config.n_critic) if plan.train_discriminator else 1):
            if plan.turn is not None:
                plan.turn(self.cost.steps)
            shown = self._show()
            shown_images += len(shown.images)
            turn = HalvedTurn(shown, self._loss, self._draw_for_g) if self._halved else None
            shown = shown if turn is None else turn.weights
            if plan.train_discriminator:
                if plan.before_discriminator is not None and turn is not None:
                    plan.before_discriminator(turn)
                self._train_discriminator(shown)
        if plan.train_generator:
            if plan.before_generator is not None and turn is not None:
                plan.before_generator(turn)
            self._train_generator(shown)
        if self._average is not None:
            self._average.update()
        self.cost = self.cost + Cost(1, shown_images, self._bill.take())

    def _train_discriminator(self, shown: Shown) -> None:
        """Update D once on the sum, or on real and then on fake images, or on real ones only."""
        own = self._ranks.share(shown)
        parts = self._parts.judged(own)
        if not self._objective.adversarial:
            total = self._update_discriminator([(part, None) for part in parts])
            self._watch.recorder.add("d", total)
            self._bill.real_update(shown)
            return
        fakes = self._fakes(own.drawn)
        pairs = list(zip(parts, fakes.chunk(len(parts)), strict=True))
        if self._config.d_update == "joint":
            total = self._update_discriminator(pairs)
        else:
            total = self._update_discriminator(pairs, fake=False)
            total = total + self._update_discriminator(pairs, real=False)
        self._watch.recorder.add("d", total)
        self._bill.discriminator_update(shown)

    def _update_discriminator(
        self,
        pairs: Sequence[tuple[Shown, Tensor | None]],
        *,
        real: bool = True,
        fake: bool = True,
    ) -> Tensor:
        """Update D once on the parts of a batch, each with what G made for it."""
        assert self._d_adam is not None
        self._d_adam.zero_grad(set_to_none=True)
        totals = []
        for part, fakes in self._parts.each(pairs, "discriminator"):
            of_real = self._score(part.images) if real else None
            of_fake = self._score(fakes) if fake and fakes is not None else None
            exchange = self._exchange(part, fakes, of_real, of_fake)
            terms = self._objective.discriminator_terms(exchange)
            totals.append(self._add_gradients("d", terms, len(pairs)))
        self._ranks.average(self._d.values())
        self._d_adam.step()
        return torch.stack(totals).sum()

    def _add_gradients(self, who: str, terms: Mapping[str, Tensor], parts: int) -> Tensor:
        """Return the share of the loss that one of so many equal parts of a batch is."""
        total = self._record(who, terms) / parts
        torch.autograd.backward(total)
        return total.detach()

    def _train_generator(self, shown: Shown) -> None:
        """Update G once through a frozen D."""
        assert self._g_adam is not None
        shown = evolve(shown, drawn=self._draw_for_g(shown))
        self._g_adam.zero_grad(set_to_none=True)
        with gradients(self._d.values(), lambda _: False):
            total = self._add_gradients_of_g(self._ranks.share(shown))
        self._ranks.average(self._g.values())
        self._g_adam.step()
        self._watch.recorder.add("g", total)
        self._bill.generator_update(shown)

    def _add_gradients_of_g(self, shown: Shown) -> Tensor:
        """Return G's loss, of which D and the objective may see a part at a time."""
        parts = self._parts.judged(shown)
        if len(parts) == 1 or not self._parts.couples("generator"):
            given: list[tuple[Shown, Tensor | None]] = [(part, None) for part in parts]
            return self._summed(given, "generator", "discriminator")
        whole = self._generate(shown.drawn)
        images = whole.detach().requires_grad_()
        total = self._summed(
            list(zip(parts, images.chunk(len(parts)), strict=True)), "discriminator"
        )
        torch.autograd.backward(whole, images.grad)
        return total

    def _summed(self, given: Sequence[tuple[Shown, Tensor | None]], *roles: Role) -> Tensor:
        """Return G's loss on parts, each with what G made for it, where that is at hand."""
        totals = []
        for part, fakes in self._parts.each(given, *roles):
            exchange = self._generator_exchange(part, fakes)
            terms = dict(self._objective.generator_terms(exchange))
            if self._plan.penalty is not None:
                terms["penalty"] = self._plan.penalty()
            totals.append(self._add_gradients("g", terms, len(given)))
        return torch.stack(totals).sum()

    def _loss(self, role: Role, shown: Shown) -> Tensor:
        """Return a network's loss on ``shown``, without an update; it is paid for like one."""
        part = self._ranks.share(shown)
        if role == "discriminator":
            fakes = self._fakes(part.drawn)
            exchange = self._exchange(part, fakes, self._score(part.images), self._score(fakes))
            terms = self._objective.discriminator_terms(exchange)
            self._bill.discriminator_update(shown)
        else:
            terms = self._objective.generator_terms(self._generator_exchange(part))
            self._bill.generator_update(shown)
        return torch.stack(list(terms.values())).sum()

    def _draw_for_g(self, shown: Shown) -> Drawn:
        """Return the inputs of an update of G: the batch's own where they belong to its images."""
        if self._inputs.paired:
            return shown.drawn
        n = self._config.g_batch_size or self._config.batch_size
        return self._inputs.draw(shown.images, n)

    def _generator_exchange(self, shown: Shown, fakes: Tensor | None = None) -> Exchange:
        fakes = self._generate(shown.drawn) if fakes is None else fakes
        real = None
        if self._objective.real_in_generator_step:
            with torch.no_grad():
                real = self._score(shown.images)
            self._bill.scored(len(shown.images) * self._ranks.size)
        exchange = self._exchange(shown, fakes, real, None)
        exchange.fake = self._score(fakes)
        return exchange

    # -- forward passes ------------------------------------------------------------------------

    def _show(self) -> Shown:
        images, labels = self._batches.next()
        drawn = self._inputs.draw(images, len(images))
        return Shown(images, labels if self._labelled else None, drawn)

    def _fakes(self, drawn: Drawn) -> Tensor:
        """Return images for D, without gradients."""
        self._generator_mode(self._config.fakes_for_d == "train")
        parts = self._parts.drawn(drawn)
        with torch.no_grad():
            made = [self._generate(d) for d in self._parts.each(parts, "generator")]
        self._generator_mode(True)
        return made[0] if len(made) == 1 else torch.cat(made)

    def _generate(self, drawn: Drawn) -> Tensor:
        self._parts.before_pass("generator")
        with self._autocast():
            images: Tensor = self._run_g(drawn.condition)
        if tuple(images.shape[1:]) != self._image:
            raise ShapeError(
                f"generator made images of shape {tuple(images.shape[1:])}, expected {self._image}"
            )
        return images.float() if images.dtype == torch.bfloat16 else images

    def _score(self, images: Tensor) -> Scores:
        return self._scored_by(self._run_d, images)

    def _score_again(self, images: Tensor) -> Scores:
        """Score for an objective that needs further passes; they are paid for.

        Never compiled: a gradient penalty differentiates twice, which compiled code cannot.
        """
        self._bill.extra += len(images) * self._ranks.size
        return self._scored_by(self.pair.discriminator, images)

    def _scored_by(self, run: Callable[..., Any], images: Tensor) -> Scores:
        self._parts.before_pass("discriminator")
        with self._autocast():
            return as_scores(run(images))

    def _autocast(self) -> torch.autocast:
        on = self._config.precision == "bf16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=on)

    def _exchange(
        self, shown: Shown, fakes: Tensor | None, real: Scores | None, fake: Scores | None
    ) -> Exchange:
        return Exchange(
            real=real,
            fake=fake,
            real_images=shown.images,
            fake_images=fakes,
            labels=shown.labels,
            condition=shown.drawn.condition,
            mask=shown.drawn.mask,
            progress=self._progress(),
            discriminator=self._score_again,
            uniform=partial(self._parts.uniform, device=self._device),
        )

    # -- schedules, records and costs ----------------------------------------------------------

    def _progress(self) -> float:
        horizon = self._plan.horizon
        return min(1.0, self.cost.steps / horizon) if horizon else 0.0

    def _set_learning_rates(self) -> None:
        if self._config.lr_decay == "none":
            return
        left = 1.0 - self._progress()
        rates = ((self._g_adam, self._config.g_lr), (self._d_adam, self._config.d_lr))
        for optimiser, rate in rates:
            if optimiser is not None:
                optimiser.param_groups[0]["lr"] = rate * left

    def _tell_passes(self) -> None:
        for change in self._passes:
            for network in (self.pair.generator, self.pair.discriminator):
                if network.role in change.roles:
                    change.progress(network, self._progress())

    def _record(self, who: str, terms: Mapping[str, Tensor]) -> Tensor:
        for name, term in terms.items():
            self._watch.recorder.add(f"{who}.{name}", term)
        return torch.stack(list(terms.values())).sum()

    # -- health --------------------------------------------------------------------------------

    def _look(self) -> None:
        bank = self._bank_values if self._plan.train_generator and len(self._split) > 1 else None
        self._watch.look(self.cost.steps, list(self._g.values()), list(self._d.values()), bank)

    def _bank_values(self) -> Tensor:
        if self._bank is None:
            self._bank = Bank(self._split, self._inputs, self._randomness, self._device)
        self._generator_mode(False)
        images = self._generate(self._bank.drawn)
        self._generator_mode(True)
        return self._bank.values(images)

    # -- networks ------------------------------------------------------------------------------

    @contextmanager
    def _armed(self) -> Iterator[None]:
        """Set modes and gradient flags for training; leave everything as it was found."""
        g, d = {id(p) for p in self._g.values()}, {id(p) for p in self._d.values()}
        with (
            short_products(self._config.precision == "tf32"),
            self._g_modes.kept(),
            self._d_modes.kept(),
            gradients(self._g_modes.parameters, lambda p: id(p) in g),
            gradients(self._d_modes.parameters, lambda p: id(p) in d),
        ):
            self._generator_mode(True)
            self._d_modes.training(self._plan.train_discriminator)
            yield
            for optimiser in (self._g_adam, self._d_adam):
                if optimiser is not None:
                    optimiser.zero_grad(set_to_none=True)

    def _generator_mode(self, training: bool) -> None:
        """Switch G; one that is not trained stays in eval mode throughout."""
        self._g_modes.training(training and self._plan.train_generator)

    def eval_generator(self, ema: bool = True) -> Network:
        """Return a copy of G in eval mode without gradients; the training is not touched.

        Its parameters are the average where one is kept and wanted; buffers are the live ones.
        """
        live = self.pair.generator
        # Mixture weights may hang on a graph, which cannot be copied.
        memo = {id(w): w.detach().clone() for w in live.selection.weights.values()}
        network: Network = copy.deepcopy(live, memo)
        if ema and self._average is not None:
            self._average.copy_to(network)
        return network.eval().requires_grad_(False)

    @torch.no_grad()
    def pictures(self, count: int = 64) -> Tensor:
        """Return at most ``count`` images ``(N, C, H, W)`` of the health policy's fixed inputs."""
        if self._bank is None:
            self._bank = Bank(self._split, self._inputs, self._randomness, self._device)
        images: Tensor = self.eval_generator()(self._bank.drawn.condition)
        return images[:count]

    def drawing(self) -> dict[str, Any]:
        """Return layers and connections of both networks, as their space defines them."""
        from nastk.nn.drawing import drawing

        pair = self.pair
        return drawing(pair.space, {**pair.generator.choices, **pair.discriminator.choices})

    # -- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return copies of everything that changes, as nested dicts of tensors and JSON values."""
        cost = self.cost
        return {
            "generator": copied(self.pair.generator),
            "discriminator": copied(self.pair.discriminator),
            "average": None if self._average is None else self._average.state_dict(),
            "g_adam": None if self._g_adam is None else optimiser_state(self._g_adam, self._g),
            "d_adam": None if self._d_adam is None else optimiser_state(self._d_adam, self._d),
            "batches": self._batches.state_dict(),
            "randomness": self._randomness.state_dict(),
            "objective": self._objective.state_dict(),
            "watch": self._watch.state_dict(),
            "macs": self._bill.state_dict(),
            "forms": dict(self._measured.forms),
            "cost": {"steps": cost.steps, "images": cost.images, "macs": cost.macs},
            "seconds": cost.seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, for a pair of the same build and plan."""
        self._ranks.forget()
        self.pair.generator.load_state_dict(state["generator"])
        self.pair.discriminator.load_state_dict(state["discriminator"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        if self._g_adam is not None:
            load_optimiser_state(self._g_adam, self._g, state["g_adam"])
        if self._d_adam is not None:
            load_optimiser_state(self._d_adam, self._d, state["d_adam"])
        self._randomness.load_state_dict(state["randomness"])
        self._batches.load_state_dict(state["batches"])
        self._objective.load_state_dict(state["objective"])
        self._watch.load_state_dict(state["watch"])
        self._bill.load_state_dict(state["macs"])
        self._measured.forms.update(state.get("forms", {}))
        self.cost = Cost(**state["cost"], seconds=state["seconds"])
