"""What a model reads and what it is taught to answer."""

import pytest

from doctune.errors import DoctuneError
from doctune.models import load_model
from doctune.prompts import IGNORED, Recipe, check_tokenizer, encode_pair, finish, prepare, read_recipe
from tests.tiny import tiny_marian, tiny_qwen


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    return load_model(tiny_marian(tmp_path_factory.mktemp("marian") / "base"))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return load_model(tiny_qwen(tmp_path_factory.mktemp("qwen") / "base"))


def test_a_plain_example_is_source_and_answer(marian):
    example = encode_pair(
        marian.tokenizer, marian.recipe, "Run\n`kubectl get pods` now.", "现在运行\n`kubectl get pods`。", 64
    )
    assert marian.tokenizer.decode(example.input_ids, skip_special_tokens=True) == "Run ⟦1⟧ now."
    assert marian.tokenizer.decode(example.labels, skip_special_tokens=True) == "现在运行 ⟦1⟧。"
    assert example.labels[-1] == marian.tokenizer.eos_token_id
    assert not example.source_cut and not example.answer_cut


def test_an_answer_is_learnt_in_the_one_way_to_write_it(marian):
    odd, plain = "在⼀个节点上\u200b运行 `ＡＢ`。", "在一个节点上运行 `ＡＢ`。"
    examples = [encode_pair(marian.tokenizer, marian.recipe, "Run `ＡＢ` on a node.", zh, 64) for zh in (odd, plain)]
    assert examples[0] == examples[1]


def test_a_chat_example_has_loss_on_the_answer_only(qwen):
    example = encode_pair(qwen.tokenizer, qwen.recipe, "A node runs many pods.", "一个节点运行多个 Pod。", 512)
    asked = [i for i, label in zip(example.input_ids, example.labels, strict=True) if label == IGNORED]
    answered = [label for label in example.labels if label != IGNORED]
    prompt = qwen.tokenizer.decode(asked)
    assert prompt.startswith("<|im_start|>system\nYou are a professional English to Chinese translator")
    assert prompt.endswith("<|im_start|>user\nA node runs many pods.<|im_end|>\n<|im_start|>assistant\n")
    assert qwen.tokenizer.decode(answered) == "一个节点运行多个 Pod。<|im_end|>"


def test_a_long_example_is_cut_and_says_so(marian):
    example = encode_pair(marian.tokenizer, marian.recipe, "word " * 80, "词" * 80, 32)
    assert example.source_cut and example.answer_cut and len(example.input_ids) == len(example.labels) == 32
    assert example.labels[-1] == marian.tokenizer.eos_token_id, "a cut text still ends"
    example = encode_pair(marian.tokenizer, marian.recipe, "word", "词" * 80, 32)
    assert (example.source_cut, example.answer_cut) == (False, True)


def test_a_chat_says_whether_the_prompt_fits(qwen):
    whole = encode_pair(qwen.tokenizer, qwen.recipe, "A node runs many pods.", "一个节点运行多个 Pod。", 512)
    prompt = sum(label == IGNORED for label in whole.labels)
    for length, cut in ((len(whole.labels), (False, False)), (prompt + 1, (False, True)), (prompt - 1, (True, True))):
        example = encode_pair(qwen.tokenizer, qwen.recipe, "A node runs many pods.", "一个节点运行多个 Pod。", length)
        assert (example.source_cut, example.answer_cut) == cut and len(example.labels) == length


def test_an_answer_becomes_text(marian):
    source = prepare(marian.recipe, "See [it](/docs/a/).")
    assert finish(marian.recipe, source, " 参阅[它]⟦1⟧。 ") == "参阅[它](/zh-cn/docs/a/)。"


def test_the_target_prefix_is_read_first(marian):
    recipe = marian.recipe.model_copy(update={"target_prefix": "A node "})
    ids = encode_pair(marian.tokenizer, recipe, "runs.", "运行。", 64).input_ids
    assert marian.tokenizer.decode(ids, skip_special_tokens=True) == "A node runs."


def test_a_tokenizer_without_the_symbols_is_refused(marian):
    class Blind:
        unk_token_id, eos_token_id = 1, 0

        def __call__(self, text, add_special_tokens, **options):
            return {"input_ids": [5, 1]}

    with pytest.raises(DoctuneError, match="cannot write ⟦1⟧ and 63 more; set it to false"):
        check_tokenizer(Blind(), marian.recipe)
    check_tokenizer(Blind(), marian.recipe.model_copy(update={"placeholders": False}))


def test_a_target_prefix_that_the_tokenizer_cannot_write_is_refused(marian):
    recipe = marian.recipe.model_copy(update={"target_prefix": ">>cmn_Hans<< "})
    with pytest.raises(DoctuneError, match=r"base.target_prefix is '>>cmn_Hans<< ', which the base's tokenizer cannot"):
        check_tokenizer(marian.tokenizer, recipe)


def test_a_folder_without_recipe_is_refused(tmp_path):
    with pytest.raises(DoctuneError, match="doctune.json does not exist"):
        read_recipe(tmp_path)


def test_a_recipe_with_mistakes_names_them(tmp_path):
    (tmp_path / "doctune.json").write_text('{"template": "magic", "placeholders": true, "links": {}}', encoding="utf-8")
    with pytest.raises(DoctuneError, match=r"2 mistake\(s\): template: .*'magic'; target_prefix: missing"):
        read_recipe(tmp_path)
    assert Recipe.model_fields.keys() == {"template", "placeholders", "links", "target_prefix"}
