"""A trimmed vocabulary: kept pieces mean what they meant, any text can still be written, and it trains, saves and ships."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune.errors import DoctuneError
from doctune.models import load_model, save_model
from doctune.prompts import encode_pair
from doctune.training.data import collate
from doctune.training.loss import answer_logits
from doctune.training.run import fine_tune
from doctune.translation import make_translator
from doctune.vocabulary import trim
from tests.test_training import params
from tests.tiny import ROWS, tiny_marian, tiny_qwen

FEW = ROWS[:8]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_marian(tmp_path_factory.mktemp("bases") / "marian", steps=120)


@pytest.fixture(scope="module")
def both(base):
    whole = load_model(base)
    small = trim(whole, FEW)
    assert not small.model.training, "an answer of it would be drawn by lot"
    for loaded in (whole, small):
        loaded.model.eval()
    return whole, small


def encoded(loaded, rows):
    return [encode_pair(loaded.tokenizer, loaded.recipe, row["en"], row["zh"], 512) for row in rows]


def names(loaded, ids):
    return loaded.tokenizer.convert_ids_to_tokens([i for i in ids if i >= 0])


def test_it_is_smaller_and_its_rows_are_segmented_as_before(both):
    whole, small = both
    assert len(small.tokenizer) == small.model.config.vocab_size < len(whole.tokenizer)  # bytes and symbols stay
    for before, after in zip(encoded(whole, FEW), encoded(small, FEW), strict=True):
        assert names(whole, before.input_ids) == names(small, after.input_ids)
        assert names(whole, before.labels) == names(small, after.labels)


def test_logits_of_kept_pieces_are_what_they_were(both):
    whole, small = both
    found = []
    with torch.no_grad():
        for loaded in both:
            logits, _ = answer_logits(loaded.model, collate(encoded(loaded, FEW), loaded.tokenizer.pad_token_id))
            found.append(logits)
    kept = [
        whole.tokenizer.encoder[piece] for piece in sorted(small.tokenizer.encoder, key=small.tokenizer.encoder.get)
    ]
    torch.testing.assert_close(found[1], found[0][:, kept], rtol=0, atol=1e-5)


def test_it_translates_its_rows_alike(both):
    texts = [row["en"] for row in FEW]
    whole, small = (make_translator(loaded).translate(texts) for loaded in both)
    assert whole == small


@settings(deadline=None, max_examples=50)
@given(text=st.text(st.sampled_from("abcxyzABC 节点调度器，。Ωé🙂0189`/[]()⟦⟧\n"), min_size=1, max_size=30))
def test_any_text_that_could_be_written_still_can(both, text):
    texts = []
    for loaded in both:
        ids = loaded.tokenizer(text_target=text)["input_ids"]
        texts.append((loaded.tokenizer.decode(ids, skip_special_tokens=True), loaded.tokenizer.unk_token_id in ids))
    assert texts[0] == texts[1]


def test_it_is_saved_and_opened_whole(both, tmp_path):
    _, small = both
    save_model(small, tmp_path / "small")
    again = load_model(tmp_path / "small")
    texts = [row["en"] for row in FEW]
    assert make_translator(again).translate(texts) == make_translator(small).translate(texts)
    assert again.model.config.pad_token_id == again.tokenizer.pad_token_id == len(again.tokenizer) - 1


@pytest.mark.slow
def test_training_trims_before_the_first_step(base, tmp_path):
    settings = params(trim_vocabulary=True, max_steps=12, eval_steps=6)
    trained = fine_tune(base, FEW, FEW, settings, tmp_path / "work", [])
    losses = [entry["eval_loss"] for entry in trained.history if "eval_loss" in entry]
    assert losses[-1] < losses[0] and trained.facts["vocabulary"] == len(trained.loaded.tokenizer) < 600
    assert trained.loaded.model.get_input_embeddings().weight.shape[0] == trained.facts["vocabulary"]


def test_what_cannot_be_trimmed_is_refused(base, tmp_path):
    with pytest.raises(DoctuneError, match="for Marian models .* but this one is qwen2"):
        trim(load_model(tiny_qwen(tmp_path / "qwen")), FEW)
    with pytest.raises(DoctuneError, match="wants train.method full, got lora"):
        fine_tune(base, FEW, FEW, params(trim_vocabulary=True, method="lora"), tmp_path / "work", [])
