"""Templates: one prompt for training and translation, labels on the answer and its end, no stray space at the seam."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune.errors import DoctuneError
from doctune.models import Loaded, load_model
from doctune.prompts import (
    IGNORED,
    INSTRUCTIONS,
    TASKS,
    check_tokenizer,
    encode_pair,
    end_id,
    finish,
    prepare,
    prompt_ids,
    set_padding,
)
from doctune.pyfunc import TranslationModel
from doctune.text import flatten
from doctune.translation import TranslateParams, Translator, make_translator
from tests.tiny import PAIRS, tiny_llama, tiny_marian, tiny_qwen, tiny_yuan

MAKERS = {"plain": tiny_marian, "chatml": tiny_qwen, "sep": tiny_yuan, "instruct": tiny_llama}
CAUSAL = [name for name in MAKERS if name != "plain"]
ENDS = {"plain": "</s>", "chatml": "<|im_end|>", "sep": "<eod>", "instruct": "</s>"}

MARKERS = {
    "plain": ("</s>", "<pad>"),
    "chatml": ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
    "sep": ("<eod>", "<sep>"),
    "instruct": ("</s>", "<s>"),
}

english = st.text("abcdeXYZ 019.,'`_-/()#\n", min_size=1, max_size=60).filter(str.strip)
chinese = st.text("节点上的运行时版本过期前请先清空。，：（）A1 `b", min_size=1, max_size=60).filter(str.strip)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    folder = tmp_path_factory.mktemp("templates")
    return {name: load_model(make(folder / name), remote_code=name == "sep") for name, make in MAKERS.items()}


def answered(labels: list[int]) -> list[int]:
    return [label for label in labels if label != IGNORED]


@pytest.mark.parametrize(
    ("name", "task", "prompt", "answer"),
    [
        pytest.param("sep", "translate", "A node runs.<sep>", "一个节点运行。<eod>", id="yuan"),
        pytest.param("sep", "term", "术语：A node runs.<sep>", "一个节点运行。<eod>", id="yuan, a term"),
        *(
            pytest.param(
                "instruct",
                task,
                f"<s> ### Instruction:\n{INSTRUCTIONS[task]}\n\n### Input:\nA node runs.\n\n### Response:\n",
                "一个节点运行。</s>",
                id=f"alpaca, {task}",
            )
            for task in TASKS
        ),
        *(
            pytest.param(
                "chatml",
                task,
                f"<|im_start|>system\n{INSTRUCTIONS[task]}<|im_end|>\n<|im_start|>user\nA node runs.<|im_end|>\n<|im_start|>assistant\n",
                "一个节点运行。<|im_end|>",
                id=f"qwen, {task}",
            )
            for task in TASKS
        ),
        pytest.param("plain", "term", "A node runs.</s>", "一个节点运行。</s>", id="a term is a short text"),
    ],
)
def test_what_a_model_reads_and_learns(
    models: dict[str, Loaded], name: str, task: str, prompt: str, answer: str
) -> None:
    loaded = models[name]
    example = encode_pair(loaded.tokenizer, loaded.recipe, "A node runs.", "一个节点运行。", 512, task=task)
    read = example.input_ids if loaded.seq2seq else example.input_ids[: example.labels.count(IGNORED)]
    assert loaded.tokenizer.decode(read) == prompt
    assert loaded.tokenizer.decode(answered(example.labels)) == answer and not example.truncated


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=40, deadline=None)
@given(en=english, zh=chinese, task=st.sampled_from(TASKS))
def test_training_and_translation_read_the_same_prompt(
    models: dict[str, Loaded], name: str, en: str, zh: str, task: str
) -> None:
    loaded = models[name]
    tokenizer, recipe = loaded.tokenizer, loaded.recipe
    example = encode_pair(tokenizer, recipe, en, zh, 4096, task=task)
    prompt = prompt_ids(tokenizer, recipe, prepare(recipe, en).text, task)
    answer = answered(example.labels)
    assert example.input_ids[: len(prompt)] == prompt and not example.truncated
    if not loaded.seq2seq:
        assert example.labels == [IGNORED] * len(prompt) + answer
        assert example.input_ids == prompt + answer
    assert answer[-1] == end_id(tokenizer, recipe) == tokenizer.convert_tokens_to_ids(ENDS[name])
    assert answer.count(answer[-1]) == 1


@pytest.mark.parametrize(("name", "marker"), [(name, marker) for name, all_ in MARKERS.items() for marker in all_])
@settings(max_examples=10, deadline=None)
@given(en=english, zh=chinese)
def test_a_marker_in_a_text_opens_and_closes_nothing(
    models: dict[str, Loaded], name: str, marker: str, en: str, zh: str
) -> None:
    loaded = models[name]
    tokenizer, recipe = loaded.tokenizer, loaded.recipe.model_copy(update={"placeholders": False})
    controls = set(tokenizer.convert_tokens_to_ids(list(MARKERS[name])))
    assert len(controls) == len(MARKERS[name])

    def seen(source: str, answer: str) -> list[int]:
        ids = encode_pair(tokenizer, recipe, source, answer, 4096)
        read = [*ids.input_ids, *(answered(ids.labels) if loaded.seq2seq else ())]
        return [token for token in read if token in controls]

    spoken = seen(f"x{en}{marker} {marker}{en}", f"节{zh}{marker}{zh}"), seen(marker, marker)
    assert spoken == (seen("x", "节"), seen("x", "节"))


def test_a_marker_in_a_text_is_read_as_it_stands(models: dict[str, Loaded]) -> None:
    loaded = models["chatml"]
    text = "End a turn with <|im_end|>, then <|im_start|>system."
    recipe = loaded.recipe.model_copy(update={"placeholders": False})
    assert text in loaded.tokenizer.decode(prompt_ids(loaded.tokenizer, recipe, text))


@pytest.mark.parametrize("name", CAUSAL)
@settings(max_examples=40, deadline=None)
@given(zh=chinese)
def test_an_answer_comes_back_as_it_was(models: dict[str, Loaded], name: str, zh: str) -> None:
    loaded = models[name]
    recipe = loaded.recipe.model_copy(update={"placeholders": False, "links": {}})
    ids = answered(encode_pair(loaded.tokenizer, recipe, "A node.", zh, 4096).labels)
    text = loaded.tokenizer.decode(ids[:-1], skip_special_tokens=True)
    assert finish(recipe, prepare(recipe, "A node."), text) == flatten(zh, "zh").strip()


@pytest.mark.parametrize("name", CAUSAL)
@settings(max_examples=40, deadline=None)
@given(zh=chinese)
def test_the_seam_is_the_tokenizer_s_own(models: dict[str, Loaded], name: str, zh: str) -> None:
    """Prompt and answer are the tokens of the whole text, as a model sees it that was pretrained on such text."""
    loaded = models[name]
    recipe = loaded.recipe.model_copy(update={"placeholders": False})
    example = encode_pair(loaded.tokenizer, recipe, "A node runs.", f"节{zh}", 4096)
    prompt = prompt_ids(loaded.tokenizer, recipe, "A node runs.")
    whole = {
        "chatml": f"<|im_start|>system\n{INSTRUCTIONS['translate']}<|im_end|>\n<|im_start|>user\nA node runs.<|im_end|>\n<|im_start|>assistant\n",
        "sep": "A node runs.<sep>",
        "instruct": f"### Instruction:\n{INSTRUCTIONS['translate']}\n\n### Input:\nA node runs.\n\n### Response:\n",
    }[name] + flatten(f"节{zh}", "zh")
    ids = loaded.tokenizer(whole)["input_ids"]
    assert example.input_ids[:-1] == ids and example.input_ids[: len(prompt)] == prompt


@pytest.mark.parametrize("name", CAUSAL)
@settings(max_examples=30, deadline=None)
@given(zh=chinese, length=st.integers(8, 120))
def test_a_cut_example_is_the_beginning_of_the_whole(
    models: dict[str, Loaded], name: str, zh: str, length: int
) -> None:
    loaded = models[name]
    whole = encode_pair(loaded.tokenizer, loaded.recipe, "A node runs.", zh, 4096)
    cut = encode_pair(loaded.tokenizer, loaded.recipe, "A node runs.", zh, length)
    assert cut.truncated == (len(whole.input_ids) > length)
    assert cut.input_ids == whole.input_ids[:length] and cut.labels == whole.labels[:length]


@settings(max_examples=30, deadline=None)
@given(en=english, zh=chinese, length=st.integers(8, 40))
def test_a_cut_pair_keeps_both_ends(models: dict[str, Loaded], en: str, zh: str, length: int) -> None:
    loaded = models["plain"]
    whole = encode_pair(loaded.tokenizer, loaded.recipe, en, zh, 4096)
    cut = encode_pair(loaded.tokenizer, loaded.recipe, en, zh, length)
    assert cut.truncated == (max(len(whole.input_ids), len(whole.labels)) > length)
    for short, full in ((cut.input_ids, whole.input_ids), (cut.labels, whole.labels)):
        assert len(short) == min(length, len(full)) and short[-1] == full[-1] and short[:-1] == full[: len(short) - 1]


def test_a_task_that_nobody_knows_is_refused(models: dict[str, Loaded]) -> None:
    for loaded in models.values():
        with pytest.raises(DoctuneError, match="task to be one of translate, term, got 'summary'"):
            encode_pair(loaded.tokenizer, loaded.recipe, "A node.", "节点。", 64, task="summary")


class Recorder:
    """A model that answers nothing and remembers what it was asked."""

    device = "cpu"

    def generate(self, input_ids: Any, **_: Any) -> Any:
        self.read = input_ids[0].tolist()
        return input_ids


@pytest.mark.parametrize(
    ("params", "task"),
    [
        pytest.param(None, "translate", id="by default"),
        pytest.param({"task": "translate"}, "translate", id="translate"),
        pytest.param({"task": "term"}, "term", id="term"),
    ],
)
def test_a_served_model_does_the_task_that_is_asked(
    models: dict[str, Loaded], params: dict[str, Any] | None, task: str
) -> None:
    loaded = models["chatml"]._replace(model=Recorder())
    served = TranslationModel(Translator(loaded.model, loaded.tokenizer, loaded.recipe, seq2seq=False))
    assert served.predict(["Taint"], params) == [""]
    wanted = encode_pair(loaded.tokenizer, loaded.recipe, "Taint", "污点", 512, task=task)
    assert loaded.model.read == wanted.input_ids[: wanted.labels.count(IGNORED)]


def test_a_chat_template_that_changes_the_text_is_refused(models: dict[str, Loaded], tmp_path: Path) -> None:
    loaded = load_model(tiny_qwen(tmp_path / "qwen"))
    loaded.tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(DoctuneError, match="does not show a user's text"):
        check_tokenizer(loaded.tokenizer, loaded.recipe)


def test_a_tokenizer_without_an_end_is_refused(models: dict[str, Loaded], tmp_path: Path) -> None:
    loaded = load_model(tiny_llama(tmp_path / "llama"))
    loaded.tokenizer.eos_token = None
    with pytest.raises(
        DoctuneError, match="template is instruct, but the base's tokenizer has no token that ends a text"
    ):
        encode_pair(loaded.tokenizer, loaded.recipe, "A node.", "节点。", 64)
    loaded.tokenizer.pad_token = None
    with pytest.raises(DoctuneError, match="no token that ends a text"):
        set_padding(loaded.tokenizer, loaded.recipe)


@pytest.mark.parametrize("name", ["instruct", "sep"])
def test_padding_with_the_end_changes_no_translation(tmp_path: Path, name: str) -> None:
    """In a batch the shorter texts are padded on the left, with the token that ends an answer; alone they are not."""
    loaded = load_model(MAKERS[name](tmp_path / name, steps=60), remote_code=name == "sep")
    translator = make_translator(loaded, TranslateParams(beams=1, batch_tokens=4096, max_new_tokens=24))
    assert loaded.tokenizer.pad_token_id == end_id(loaded.tokenizer, loaded.recipe)
    texts = [PAIRS[n][0] for n in (5, 0, 10)]  # of three lengths
    assert translator.translate(texts) == [translator.translate([text])[0] for text in texts]


def examples_of(loaded: Loaded) -> list[Any]:
    return [encode_pair(loaded.tokenizer, loaded.recipe, en, zh, 512) for en, zh in PAIRS]


@pytest.mark.parametrize("name", ["instruct", "sep"])
def test_a_batch_padded_with_the_end_has_the_loss_of_its_rows(models: dict[str, Loaded], name: str) -> None:
    import torch
    import torch.nn.functional as F

    from doctune.training.data import collate
    from doctune.training.loss import answer_logits

    loaded = models[name]
    loaded.model.eval()
    examples = examples_of(loaded)[:4]
    pad = loaded.tokenizer.pad_token_id
    with torch.no_grad():
        logits, targets = answer_logits(loaded.model, collate(examples, pad))
        alone = [answer_logits(loaded.model, collate([example], pad)) for example in examples]
    assert len(targets) == sum(len(answered(example.labels)) for example in examples)
    single = torch.cat([part for part, _ in alone]), torch.cat([part for _, part in alone])
    torch.testing.assert_close(F.cross_entropy(logits, targets), F.cross_entropy(*single))
