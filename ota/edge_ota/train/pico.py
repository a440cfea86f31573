"""The pico writer's network and its training: a small decoder of Llama's shape, trained from scratch on phrased chunks.

Shape: token embedding tied to the output, pre-norm blocks with RMSNorm (Zhang and Sennrich 2019), rotary positions (Su et al.
2021, halves rotated), causal attention without biases, SwiGLU (Shazeer 2020). Trained with AdamW and a cosine schedule on the
answer's tokens only. Deterministic for a seed on one machine with one thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORED = -100


@dataclass(frozen=True)
class PicoShape:
    """Sizes of the network. `width` must be a multiple of `heads`, and the head's size even."""

    vocabulary: int
    width: int = 128
    layers: int = 5
    heads: int = 4
    inner: int = 352
    rotary_base: float = 10_000.0
    norm_epsilon: float = 1e-5


class _Norm(nn.Module):
    def __init__(self, shape: PicoShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.width))
        self.epsilon = shape.norm_epsilon

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weight


class _Block(nn.Module):
    def __init__(self, shape: PicoShape) -> None:
        super().__init__()
        self.heads, self.size = shape.heads, shape.width // shape.heads
        self.before_attention, self.before_inner = _Norm(shape), _Norm(shape)
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.attended = nn.Linear(shape.width, shape.width, bias=False)
        self.gate = nn.Linear(shape.width, shape.inner, bias=False)
        self.up = nn.Linear(shape.width, shape.inner, bias=False)
        self.down = nn.Linear(shape.inner, shape.width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        batch, length, width = x.shape
        mixed = self.query_key_value(self.before_attention(x)).view(batch, length, 3, self.heads, self.size)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        query, key = _rotated(query, cosine, sine), _rotated(key, cosine, sine)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attended(seen.transpose(1, 2).reshape(batch, length, width))
        y = self.before_inner(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cosine - high * sine, high * cosine + low * sine), dim=-1)


class Pico(nn.Module):
    """The network. `forward` takes token numbers of shape (batch, length) and returns logits (batch, length, vocabulary)."""

    def __init__(self, shape: PicoShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.norm = _Norm(shape)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                deep = name.endswith(("attended.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.05 / (math.sqrt(2 * shape.layers) if deep else 1.0))

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        size = self.shape.width // self.shape.heads
        frequency = self.shape.rotary_base ** (-torch.arange(0, size, 2) / size)
        angle = torch.arange(tokens.shape[1])[:, None] * frequency[None, :]
        cosine, sine = angle.cos(), angle.sin()
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, cosine, sine)
        return functional.linear(self.norm(x), self.embedding.weight)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    steps: int = 3_000
    batch: int = 64
    peak_rate: float = 3e-3
    warmup_steps: int = 100


def train(
    shape: PicoShape,
    schedule: Schedule,
    draw: Callable[[Random], tuple[Sequence[int], Sequence[int]]],
    seed: int,
    report: Callable[[str], None],
    inspect: Callable[[Pico, int], None],
) -> Pico:
    """Train from scratch. `draw` gives one (prompt, answer) as token numbers; `inspect` is shown the network every 500 steps."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    random = Random(seed)
    network = Pico(shape)
    optimiser = torch.optim.AdamW(network.parameters(), lr=schedule.peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
    waiting: list[list[tuple[Sequence[int], Sequence[int]]]] = []
    started, seen, recent = time.monotonic(), 0, 0.0
    for step in range(1, schedule.steps + 1):
        warm = min(1.0, step / schedule.warmup_steps)
        rate = schedule.peak_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / schedule.steps)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        if not waiting:
            waiting = _bucketed(schedule, draw, random)
        tokens, targets = _batch(waiting.pop())
        loss = functional.cross_entropy(network(tokens).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        seen += int((targets != IGNORED).sum())
        recent = 0.98 * recent + 0.02 * loss.item() if step > 1 else loss.item()
        if step % 100 == 0:
            report(f"step {step}/{schedule.steps}  loss {recent:.4f}  {seen / (time.monotonic() - started):,.0f} answer tokens/s")
        if step % 500 == 0:
            inspect(network, step)
    return network


def _bucketed(
    schedule: Schedule, draw: Callable[[Random], tuple[Sequence[int], Sequence[int]]], random: Random
) -> list[list[tuple[Sequence[int], Sequence[int]]]]:
    """Batches of like lengths in random order: padding would otherwise take a third of the time."""
    pool = sorted((draw(random) for _ in range(16 * schedule.batch)), key=lambda pair: len(pair[0]) + len(pair[1]))
    batches = [pool[i : i + schedule.batch] for i in range(0, len(pool), schedule.batch)]
    random.shuffle(batches)
    return batches


def _batch(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> tuple[Tensor, Tensor]:
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs) - 1
    tokens = torch.zeros((len(pairs), longest), dtype=torch.long)
    targets = torch.full((len(pairs), longest), IGNORED, dtype=torch.long)
    for row, (prompt, answer) in enumerate(pairs):
        whole = [*prompt, *answer]
        tokens[row, : len(whole) - 1] = torch.tensor(whole[:-1])
        targets[row, len(prompt) - 1 : len(whole) - 1] = torch.tensor(list(answer))
    return tokens, targets
