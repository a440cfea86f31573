"""The fault classifier's network, its training and its conversion to a fully INT8 .tflite.

Rules: TensorFlow is imported here and nowhere else; one thread and deterministic kernels, so that one seed gives one model on
one machine; only operators that tflite-runtime 2.14 and later runtimes share, in versions that the oldest of them has.

The network is a small one-dimensional convolutional net with two heads. The kind is learnt by cross-entropy; the signature by
the normalised temperature-scaled cross-entropy of Chen et al. (SimCLR, 2020), where the positives are two recordings of one
event and the negatives all other events of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.detect import CLASSES
from edge_agent.detect.contract import SIGNATURE_BYTES, WINDOW_READINGS
from edge_ota.train.classifier_data import DataSet


class Training(Struct, frozen=True, kw_only=True):
    """How to train; the defaults made the shipped model."""

    seed: int = 1
    epochs: int = 24
    batch: int = 256
    learning_rate: float = 3e-3
    temperature: float = 0.1
    """Of the contrastive loss, on cosines."""
    alike_weight: float = 0.3
    """Of the contrastive loss, against the cross-entropy."""
    length_weight: float = 0.02
    """Of the pull of every signature towards the same length."""
    representative: int = 2_000
    """Windows from which the converter learns the ranges of the activations."""


def make_deterministic(seed: int) -> None:
    """Fix every source of chance and order in TensorFlow; must run before anything else in it."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def build_network() -> Any:
    """The untrained Keras model: (n, WINDOW_READINGS) -> [(n, len(CLASSES)) probabilities, (n, SIGNATURE_BYTES)]."""
    layers = tf.keras.layers
    window = tf.keras.Input((WINDOW_READINGS,), name="window")
    x = layers.Reshape((WINDOW_READINGS, 1, 1))(window)
    for filters, width, stride in ((16, 7, 2), (24, 5, 2), (32, 3, 2), (32, 3, 1)):
        x = layers.Conv2D(filters, (width, 1), strides=(stride, 1), padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    # Flattened, not averaged: when a fault began tells a spike that has passed from a shift that has not.
    features = layers.Flatten()(x)
    hidden = layers.Dense(32, activation="relu")(layers.Dropout(0.1)(features))
    kind = layers.Dense(len(CLASSES), activation="softmax", name="kind")(hidden)
    # Linear: behind a hyperbolic tangent one int8 step of the input would be many of the output.
    signature = layers.Dense(SIGNATURE_BYTES, name="signature")(features)
    return tf.keras.Model(window, [kind, signature])


def train(network: Any, data: DataSet, training: Training, progress: Callable[[str], None]) -> None:
    """Train `network` in place, one line of `progress` an epoch."""
    steps = training.epochs * (len(data.labels) // training.batch)
    schedule = tf.keras.optimizers.schedules.CosineDecay(training.learning_rate, steps)
    optimizer = tf.keras.optimizers.Adam(schedule)
    step = _make_step(network, optimizer, training)
    rng = np.random.default_rng(training.seed)
    for epoch in range(training.epochs):
        losses = [[float(each) for each in step(*batch)] for batch in _batches(rng, data, training.batch)]
        kind, alike = np.mean(np.array(losses), axis=0)
        progress(f"epoch {epoch + 1}/{training.epochs}: kind loss {kind:.4f}, alike loss {alike:.4f}")


def to_int8(network: Any, windows: NDArray[np.float32]) -> bytes:
    """Convert to a .tflite whose input, weights, activations and outputs are all int8; batch size 1.

    `windows` is the representative set, shape (n, WINDOW_READINGS).
    """
    window = tf.keras.Input((WINDOW_READINGS,), batch_size=1, name="window")
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(window, network(window, training=False)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([window[None, :]] for window in windows)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    # Per-channel weights in dense layers need FULLY_CONNECTED version 12, which tflite-runtime 2.14 does not have. The
    # converter offers no public way to turn them off.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return bytes(converter.convert())


def interpreter(model_content: bytes, num_threads: int) -> Any:
    """TensorFlow's own interpreter, for machines that train and have no TFLite runtime beside it."""
    return tf.lite.Interpreter(model_content=model_content, num_threads=num_threads)


def _make_step(network: Any, optimizer: Any, training: Training) -> Callable[..., tuple[Any, Any]]:
    """One compiled optimisation step; answers the two losses."""

    def step(windows: Any, twins: Any, labels: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            kind, signature = network(tf.concat([windows, twins], 0), training=True)
            doubled = tf.concat([labels, labels], 0)
            kind_loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(doubled, kind))
            alike_loss = _alike_loss(signature, training.temperature)
            loss = kind_loss + training.alike_weight * alike_loss + training.length_weight * _length_loss(signature)
        optimizer.apply_gradients(zip(tape.gradient(loss, network.trainable_variables), network.trainable_variables, strict=True))
        return kind_loss, alike_loss

    compiled: Callable[..., tuple[Any, Any]] = tf.function(step)
    return compiled


def _alike_loss(signatures: Any, temperature: float) -> Any:
    """NT-Xent over 2n signatures whose rows i and i + n are twins (Chen et al., 2020, equation 1)."""
    unit = tf.math.l2_normalize(signatures, axis=1)
    n = tf.shape(unit)[0] // 2
    cosines = tf.matmul(unit, unit, transpose_b=True) / temperature
    cosines = tf.linalg.set_diag(cosines, tf.fill([2 * n], -1e9))
    partner = tf.concat([tf.range(n, 2 * n), tf.range(n)], 0)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(partner, cosines))


def _length_loss(signatures: Any) -> Any:
    """Keeps all signatures about equally long, so that one int8 scale serves them all: cosines do not see the length."""
    mean_square = tf.reduce_mean(tf.square(signatures), axis=1)
    return tf.reduce_mean(tf.square(mean_square - 1.0))


def _batches(rng: np.random.Generator, data: DataSet, size: int) -> Iterator[tuple[Any, Any, Any]]:
    """The data once, shuffled, in full batches."""
    order = rng.permutation(len(data.labels))
    for start in range(0, len(order) - size + 1, size):
        rows = order[start : start + size]
        yield tf.constant(data.windows[rows]), tf.constant(data.twins[rows]), tf.constant(data.labels[rows])
