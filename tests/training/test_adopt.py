"""Adopting Keras models: the tutorials' and others, what is refused, and kills."""

from __future__ import annotations

import io
import shutil
import zipfile
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from daemon.assets import SHIPPED_MODEL
from daemon.cli import main
from daemon.errors import DataError, ModelError
from daemon.models import packs
from daemon.models.folder import ModelsFolder
from daemon.reading import eye, model
from daemon.training import adopt, frameworks, keras_file, wrapping
from support.daemon import DIGITD, SAMPLES, Box, digitd, run_once
from support.small_pack import use_small_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Keras 3.15 copies its variables in a way that numpy 2.4 warns about.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.timeout(600),  # it trains and adopts five networks
]

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
MNIST = np.load(SMALL)
# What the networks learn: MNIST's digits are few here.
_PACK = adopt.load_pack().digits
IMAGES = np.concatenate([MNIST["x_train"], _PACK.glyphs[::2]])
LABELS = np.concatenate([MNIST["y_train"], _PACK.labels[::2]])
# Pixels from 0 to 1, and the digits where they are.
UNIT = replace(next(wrapping.list_scalings()), is_moved=False)


@pytest.fixture(scope="module")
def keras() -> Any:  # noqa: ANN401 - Keras ships no types
    return frameworks.import_keras()


@pytest.fixture(scope="module", autouse=True)
def small_pack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_small_pack(monkeypatch, tmp_path_factory.mktemp("pack"))
        yield
    packs.load_regression.cache_clear()


def tutorial(keras: Any, last: str | None = "softmax") -> Any:  # noqa: ANN401
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation=last),
        ]
    )


def without_input(keras: Any) -> Any:  # noqa: ANN401
    """Return a network as most tutorials build it: its file has the batch size of the training."""
    return keras.Sequential(tutorial(keras).layers)


def convolutions(keras: Any) -> Any:  # noqa: ANN401
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 5, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(11),
        ]
    )
    # As TensorFlow's quickstart does: a model with a softmax around it.
    return keras.Sequential([network, layers.Softmax()])


@dataclass(frozen=True)
class Brought:
    """A network that somebody brings, and what its scaling must be found to be."""

    name: str
    build: Callable[[Any], Any]
    prepare: Callable[[Any, Any], Any]  # Keras and float32 pixels from 0 to 255, white on black
    scaling: str


BROUGHT = (
    Brought("unit", without_input, lambda _, x: x / 255, "0 to 1, white on black"),
    Brought("inverted", tutorial, lambda _, x: 255 - x, "0 to 255, black on white"),
    Brought(
        "normalized",
        tutorial,
        lambda keras, x: keras.utils.normalize(x, axis=1),
        "columns normalized, normalize(axis=1), white on black",
    ),
    Brought("convolutions", convolutions, lambda _, x: x[..., None], "0 to 255, white on black"),
)


@dataclass(frozen=True)
class Result:
    """An adopted network: the box with its models folder, what was printed, its own answers."""

    box: Box
    brought: Brought
    output: str
    answers: np.ndarray[Any, np.dtype[np.int64]]

    @property
    def id(self) -> str:
        (entry,) = ModelsFolder(self.box.folder / "models").entries()
        return entry.id

    @property
    def path(self) -> Path:
        return self.box.folder / "models" / f"{self.id}.keras"


def run(*arguments: object) -> str:
    """Run a command in this process, as importing TensorFlow takes seconds."""
    output = io.StringIO()
    with redirect_stdout(output):
        main([str(argument) for argument in arguments], standalone_mode=False)
    return output.getvalue()


@pytest.fixture(scope="module")
def results(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:  # noqa: ANN401
    found = {}
    for brought in BROUGHT:
        box = Box(tmp_path_factory.mktemp(brought.name))
        keras.utils.set_random_seed(1)
        network = brought.build(keras)
        network.compile("adam", "sparse_categorical_crossentropy")
        pixels = [
            brought.prepare(keras, images.astype(np.float32))
            for images in (IMAGES, MNIST["x_test"])
        ]
        network.fit(pixels[0], LABELS, epochs=8, verbose=0)
        file = box.folder / "handwritten.keras"
        network.save(file)
        output = run("model", "adopt", file, "--config", box.config)
        answers = np.asarray(network(pixels[1])).argmax(axis=1)
        found[brought.name] = Result(box, brought, output, answers)
    return found


@pytest.fixture(params=[brought.name for brought in BROUGHT])
def result(request: pytest.FixtureRequest, results: dict[str, Result]) -> Result:
    return results[request.param]


def test_scaling_and_polarity_are_found(result: Result) -> None:
    assert f"its input: {result.brought.scaling}, found with" in result.output
    assert "its digits: centred as " in result.output


@pytest.mark.parametrize("source", ["MNIST", "glyphs"])
def test_digit_is_moved_to_where_the_network_has_learnt_it(keras: Any, source: str) -> None:  # noqa: ANN401
    images, labels = (
        (MNIST["x_train"], MNIST["y_train"])
        if source == "MNIST"
        else (_PACK.glyphs[::2], _PACK.labels[::2])
    )
    keras.utils.set_random_seed(1)
    network = tutorial(keras)
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(images / np.float32(255), labels, batch_size=16, epochs=10, verbose=0)
    head = wrapping.split_head(network)
    scaling = adopt.find_scaling(head, _PACK.select(slice(1, None, 2)))
    assert scaling.is_moved == (source == "MNIST")
    segment = model.load(SHIPPED_MODEL).segment
    shown = images[:300]
    glyphs = [eye.detect(segment, np.repeat(ink[..., None], 3, axis=2)).glyph for ink in shown]
    answers = wrapping.run(wrapping.wrap(head, scaling), np.stack(glyphs)).argmax(axis=1)
    alone = np.asarray(network(shown / np.float32(255))).argmax(axis=1)
    # 0.97 and 0.99; with the digits elsewhere 0.89 and 0.89.
    assert (answers == alone).mean() >= 0.94


def test_adopted_classifier_answers_as_the_network_does(result: Result) -> None:
    adopted = model.load(result.path)
    logits = adopted.forward(MNIST["x_test"])
    assert (logits.argmax(axis=1) == result.answers).mean() >= 0.97


def test_daemon_reads_every_file_with_an_adopted_model(result: Result) -> None:
    box = Box(result.box.folder / "run")
    box.configure(model=result.path)
    dropped = {each.name: each.read_bytes() for each in SAMPLES.glob("digit*.png")}
    for name, data in dropped.items():
        box.drop(name, data)
    run_once(box, DIGITD)
    box.check_books(dropped)
    assert {row["model"] for row in box.rows()} == {result.id}


def test_report_tells_what_the_model_is_and_how_to_use_it(result: Result) -> None:
    output = result.output
    assert "numbers: still read by digitd's line reader" in output
    assert "not a digit" in output
    assert "note: the comparison is on hard images" in output
    assert ("it has no class for what is not a digit" in output) == (
        result.brought.name != "convolutions"
    )
    assert output.splitlines()[-1].endswith(f"set `model: {result.path}` in config.yaml")
    assert "must not be promoted: it is worse on" in output
    assert f"digitd model promote {result.id}" not in output


def test_adopted_model_that_is_worse_is_not_promoted(results: dict[str, Result]) -> None:
    result = results["unit"]
    refused = digitd("model", "promote", result.id, "--config", result.box.config)
    assert refused.returncode == 1
    assert "it is worse on" in refused.stderr


def test_model_without_the_class_never_says_that_a_digit_is_none(
    results: dict[str, Result],
) -> None:
    for name in ("unit", "inverted", "normalized"):
        adopted = model.load(results[name].path)
        glyphs = packs.load_replay().glyphs
        none = model.softmax(adopted.forward(glyphs), adopted.settings.temperature)[:, 10]
        assert none.max() < 0.01


def test_normalized_input_is_compiled_with_32_bits(results: dict[str, Result]) -> None:
    assert "compiled with: 32 bits" in results["normalized"].output
    assert "compiled with: 8 bits" in results["unit"].output


def test_adopted_model_keeps_the_eye_and_the_line_reader(results: dict[str, Result]) -> None:
    for member in (model.EYE_MEMBER, model.LINE_MEMBER, "line.keras"):
        whole = [
            zipfile.ZipFile(path).read(member) for path in (SHIPPED_MODEL, results["unit"].path)
        ]
        assert whole[0] == whole[1]
    assert (
        model.load(results["unit"].path).line_calibration
        == model.load(SHIPPED_MODEL).line_calibration
    )


def test_own_images_are_fitted_to(results: dict[str, Result], tmp_path: Path) -> None:
    file = results["inverted"].box.folder / "handwritten.keras"
    config = Box(tmp_path).config
    output = run("model", "adopt", file, "--data", SMALL, "--config", config)
    assert "0 to 255, black on white, found with mnist-small.npz" in output


def test_few_images_are_refused(tmp_path: Path) -> None:
    few = tmp_path / "few.npz"
    np.savez(few, images=MNIST["x_test"][:5], labels=MNIST["y_test"][:5])
    with pytest.raises(DataError, match=r"has 5 images with one digit, too few"):
        adopt.load_data(few)


def test_config_that_names_a_keras_file_is_told_of_adopt(results: dict[str, Result]) -> None:
    box = Box(results["unit"].box.folder / "other")
    file = box.folder / "handwritten.keras"
    shutil.copy(results["unit"].box.folder / file.name, file)
    box.configure(model=file)
    checked = digitd("check", "--config", box.config)
    assert checked.returncode == 78
    command = f"`digitd model adopt {file} --config {box.config}`"
    assert command in checked.stdout + checked.stderr


@pytest.mark.parametrize("last", ["softmax", "sigmoid", "log_softmax", None])
def test_logits_come_before_the_last_activation(keras: Any, last: str | None) -> None:  # noqa: ANN401
    network = tutorial(keras, last)
    head = wrapping.split_head(network)
    wrapped = wrapping.wrap(head, UNIT, least=-50)
    logits = wrapping.run(wrapped, MNIST["x_test"][:20])
    wanted = np.asarray(tutorial_answers(network, last))
    assert np.allclose(model.softmax(logits[:, :10], 1.0), wanted, atol=1e-5)


def tutorial_answers(network: Any, last: str | None) -> Any:  # noqa: ANN401
    answers = np.asarray(network(MNIST["x_test"][:20].astype(np.float32) / 255))
    if last == "softmax":
        return answers
    if last == "sigmoid":
        answers = np.log(answers / (1 - answers))
    return model.softmax(answers, 1.0)


def test_softmax_that_is_no_layer_is_undone(keras: Any) -> None:  # noqa: ANN401
    inner = tutorial(keras, None)
    image = keras.Input((784,))
    outputs = keras.ops.softmax(inner(keras.layers.Reshape((28, 28))(image)))
    network = keras.Model(image, outputs)
    wrapped = wrapping.wrap(wrapping.split_head(network), UNIT)
    logits = wrapping.run(wrapped, MNIST["x_test"][:20])
    answers = np.asarray(network(MNIST["x_test"][:20].reshape(20, 784).astype(np.float32) / 255))
    assert np.allclose(model.softmax(logits[:, :10], 1.0), answers, atol=1e-4)


def save_lambda(keras: Any, file: Path) -> None:  # noqa: ANN401
    network = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Lambda(lambda x: x / 255, name="scale"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    network.save(file)


def save_custom(keras: Any, file: Path) -> None:  # noqa: ANN401
    class Mine(keras.layers.Dense):  # type: ignore[misc]
        pass

    network = keras.Sequential([keras.Input((784,)), Mine(10)])
    network.save(file)


def save_own_activation(keras: Any, file: Path) -> None:  # noqa: ANN401
    def mine(x: Any) -> Any:  # noqa: ANN401
        return x * 2

    keras.Sequential([keras.Input((784,)), keras.layers.Dense(10, activation=mine)]).save(file)


def save_shape(*shape: int, classes: int = 10) -> Callable[[Any, Path], None]:
    def save(keras: Any, file: Path) -> None:  # noqa: ANN401
        layers = keras.layers
        keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(classes)]).save(file)

    return save


def save_two_inputs(keras: Any, file: Path) -> None:  # noqa: ANN401
    inputs = [keras.Input((784,)), keras.Input((784,))]
    keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Add()(inputs))).save(file)


def save_two_outputs(keras: Any, file: Path) -> None:  # noqa: ANN401
    image = keras.Input((784,))
    outputs = [keras.layers.Dense(10)(image), keras.layers.Dense(2)(image)]
    keras.Model(image, outputs).save(file)


def save_old(_: Any, file: Path) -> None:  # noqa: ANN401
    file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))


def save_folder(_: Any, file: Path) -> None:  # noqa: ANN401
    file.mkdir()
    (file / "saved_model.pb").write_bytes(b"")


def save_truncated(keras: Any, file: Path) -> None:  # noqa: ANN401
    save_shape(28, 28)(keras, file)
    file.write_bytes(file.read_bytes()[:-500])


def save_text(_: Any, file: Path) -> None:  # noqa: ANN401
    file.write_text("no model")


def save_digitd(_: Any, file: Path) -> None:  # noqa: ANN401
    shutil.copy(SHIPPED_MODEL, file)


def save_fixed_batch(keras: Any, file: Path) -> None:  # noqa: ANN401
    image = keras.Input(batch_shape=(32, 784))
    rows = keras.ops.reshape(image, (32, 1, 784))
    keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(rows))).save(file)


def save_diverged(keras: Any, file: Path) -> None:  # noqa: ANN401
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10)])
    weights, bias = network.get_weights()
    weights[3, 4] = np.nan
    network.set_weights([weights, bias])
    network.save(file)


def save_nothing(_: Any, __: Path) -> None:  # noqa: ANN401
    pass


@pytest.mark.parametrize(
    ("save", "says"),
    [
        (save_lambda, "has a Lambda layer 'scale', and digitd never runs code"),
        (save_custom, "uses Mine, a custom object"),
        (save_own_activation, "uses mine, a custom object"),
        (save_shape(32, 32), "maps 32x32 to 10: digitd needs a classifier of 28x28 pixels"),
        (save_shape(28, 28, 3), "maps 28x28x3 to 10"),
        (save_shape(28, 28, classes=26), "maps 28x28 to 26"),
        (save_two_inputs, "has 2 inputs and 1 outputs"),
        (save_two_outputs, "has 1 inputs and 2 outputs"),
        (save_old, "is in the old HDF5 format (.h5)"),
        (save_folder, "is a SavedModel folder"),
        (save_truncated, "is not a .keras file, or is truncated"),
        (save_text, "is not a .keras file, or is truncated"),
        (save_digitd, "is one of digitd's own models, which needs no adoption"),
        (save_diverged, "has weights that are not finite numbers: train it again"),
        (save_fixed_batch, "cannot read two images at once"),
        (save_nothing, "cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_adopted_is_refused_in_one_line(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
    save: Callable[[Any, Path], None],
    says: str,
) -> None:
    file = tmp_path / "mine.keras"
    save(keras, file)
    with pytest.raises(ModelError) as refused:
        keras_file.load_classifier(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_status == 78


def test_layers_that_litert_lacks_are_named(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    image = keras.Input((28, 28))
    spectrum = keras.ops.real(keras.ops.fft2((image, keras.ops.zeros_like(image)))[0])
    network = keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(spectrum)))
    wrapped = wrapping.wrap(wrapping.split_head(network), UNIT)
    with pytest.raises(ModelError) as refused:
        wrapping.compile_float(wrapped, tmp_path / "mine.keras")
    assert "cannot be compiled for LiteRT" in str(refused.value)
    assert "\n" not in str(refused.value)
